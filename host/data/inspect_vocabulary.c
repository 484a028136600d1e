/* facet inspect of a vocabulary file. See inspect.h. */
#include <inttypes.h>
#include <string.h>

#include "data/inspect.h"
#include "facet/log.h"
#include "facet/vocabulary.h"

#define FEW 3 /* tokens shown from each end */

facet_status inspect_verify_vocabulary(const char *path, const facet_schema *schema,
                                       const facet_vocabulary_info *info) {
  facet_vocabulary *vocabulary;
  FACET_TRY(facet_vocabulary_load(path, &vocabulary));
  const int64_t size = facet_vocabulary_size(vocabulary);
  facet_status status = FACET_OK;
  if (info && strcmp(info->name, facet_vocabulary_name(vocabulary)) != 0)
    status = facet_error_set(FACET_ERROR_DATA, __FILE__, __LINE__, "%s: holds vocabulary %.64s, expected %s", path,
                             facet_vocabulary_name(vocabulary), info->name);
  else if (info && size != info->size)
    status = facet_error_set(FACET_ERROR_DATA, __FILE__, __LINE__,
                             "%s: size %" PRId64 ", expected %" PRId64 " (vocabulary %s of %s)", path, size, info->size,
                             info->name, schema->path);
  facet_vocabulary_destroy(&vocabulary);
  return status;
}

/* Verifies against <file>/../../schema.yaml where that names the vocabulary. */
static facet_status verify(const facet_inspect_request *request, const char *name) {
  char directory[FACET_PATH_MAX], schema_path[FACET_PATH_MAX];
  facet_schema *schema = NULL;
  FACET_TRY(inspect_directory_of(request->path, 1, directory));
  FACET_TRY(facet_path_format(schema_path, "%s/schema.yaml", directory));
  if (facet_file_exists(schema_path)) FACET_TRY(facet_schema_load(schema_path, &schema));
  const int v = schema ? facet_schema_vocabulary(schema, name) : -1;
  const facet_status status =
      inspect_verify_vocabulary(request->path, schema, v >= 0 ? &schema->vocabularies[v] : NULL);
  facet_schema_destroy(&schema);
  if (status == FACET_OK)
    inspect_field(request->out, "verified", "hash, no token twice%s\n", v >= 0 ? ", size as in the schema" : "");
  return status;
}

static facet_status print_tokens(const inspect_tokens *tokens, int64_t first, int64_t end, int width, FILE *out) {
  for (int64_t id = first; id < end && id < tokens->size; id++) {
    const char *text;
    FACET_TRY(inspect_tokens_get(tokens, id, &text));
    fprintf(out, "%*" PRId64 "  %s\n", width, id, text);
  }
  return FACET_OK;
}

static facet_status print_vocabulary(const inspect_tokens *tokens, int64_t n_rows, FILE *out) {
  char digits[32];
  const int width = snprintf(digits, sizeof digits, "%" PRId64, tokens->size);
  inspect_field(out, "vocabulary", "%s", tokens->path);
  inspect_field(out, "name", "%.64s", tokens->name);
  inspect_field(out, "ids", "%s: padding, unknown and %s", inspect_count(tokens->size),
                inspect_plural(tokens->size - FACET_ID_FIRST, "token"));
  if (tokens->has_hash)
    inspect_field(out, "hash", "%016" PRIx64, tokens->hash);
  else
    inspect_field(out, "hash", "none (written by another program)");
  inspect_field(out, "size", "%s", facet_format_bytes((double)inspect_file_bytes(tokens->path)));
  fputc('\n', out);
  if (n_rows > 0) return print_tokens(tokens, FACET_ID_FIRST, FACET_ID_FIRST + n_rows, width, out);
  if (tokens->size <= FACET_ID_FIRST + 2 * FEW) return print_tokens(tokens, FACET_ID_FIRST, tokens->size, width, out);
  FACET_TRY(print_tokens(tokens, FACET_ID_FIRST, FACET_ID_FIRST + FEW, width, out));
  fprintf(out, "%*s\n", width + 2, "…");
  return print_tokens(tokens, tokens->size - FEW, tokens->size, width, out);
}

facet_status facet_inspect_vocabulary(const facet_inspect_request *request) {
  inspect_tokens *tokens;
  FACET_TRY(inspect_tokens_open(request->path, &tokens));
  facet_status status = request->verify ? verify(request, tokens->name) : FACET_OK;
  if (status == FACET_OK) status = print_vocabulary(tokens, request->n_rows, request->out);
  inspect_tokens_close(&tokens);
  return status;
}
