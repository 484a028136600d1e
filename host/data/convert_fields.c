/* Columns of the log itself: context of samples, fields of events. */
#include <string.h>

#include "data/convert_internal.h"
#include "facet/memory.h"

#define EMPTY (-1) /* an id field without a value: unknown */

static facet_status open_field(const conversion *self, convert_field *field) {
  const convert_attribute *attribute = field->attribute;
  if (attribute->type == CONVERT_ATTRIBUTE_ID) return facet_vocabulary_create(attribute->name, &field->raw);
  return convert_read_missing(self, attribute, &field->missing, &field->has_missing);
}

facet_status convert_open_fields(conversion *self, convert_fields *fields) {
  for (int i = 0; i < fields->n; i++) FACET_TRY(open_field(self, &fields->field[i]));
  return FACET_OK;
}

void convert_close_fields(convert_fields *fields) {
  for (int i = 0; i < fields->n; i++) {
    convert_field *field = &fields->field[i];
    facet_vocabulary_destroy(&field->raw);
    facet_memory_free(field->train_count);
    facet_memory_free(field->final_id);
  }
}

facet_status convert_read_field(convert_field *field, const delimited_reader *reader, const char *text, size_t n_bytes,
                                int32_t *word, bool *is_good) {
  char number[64];
  float value = field->missing;
  *is_good = true;
  *word = EMPTY;
  if (field->raw) return n_bytes == 0 ? FACET_OK : convert_raw_index(field->raw, reader, text, n_bytes, word);
  if (n_bytes > 0 || !field->has_missing) {
    const delimited_field one = {.text = number, .n_bytes = n_bytes}; /* a value in a list is not 0-terminated */
    *is_good = n_bytes < sizeof number;
    if (*is_good) snprintf(number, sizeof number, "%.*s", (int)n_bytes, text);
    *is_good = *is_good && convert_read_float(&one, &value);
  }
  memcpy(word, &value, sizeof *word);
  return FACET_OK;
}

void convert_count_field(convert_field *field, int32_t word) {
  if (field->raw && word != EMPTY) field->train_count[word]++;
}

facet_status convert_start_field_counts(convert_fields *fields) {
  for (int i = 0; i < fields->n; i++) {
    convert_field *field = &fields->field[i];
    if (!field->raw) continue;
    const int64_t n_raw = facet_vocabulary_size(field->raw) - FACET_ID_FIRST;
    FACET_TRY(FACET_ALLOC(field->train_count, n_raw, "training counts"));
    FACET_TRY(FACET_ALLOC(field->final_id, n_raw, "ids"));
  }
  return FACET_OK;
}

facet_status convert_assign_field_ids(conversion *self, convert_fields *fields) {
  for (int i = 0; i < fields->n; i++) {
    convert_field *field = &fields->field[i];
    if (!field->raw) continue;
    FACET_TRY(convert_attribute_vocabulary_get(self, field->attribute->vocabulary, &field->final));
    FACET_TRY(convert_assign_token_ids(self, field->raw, field->final, field->train_count, 1, field->final_id));
  }
  return FACET_OK;
}

facet_status convert_append_field(facet_shard_writer *part, const convert_field *field, const int32_t *words,
                                  int64_t stride, int64_t n, int32_t *scratch) {
  if (!field->raw) {
    float *values = (float *)scratch;
    for (int64_t i = 0; i < n; i++) memcpy(&values[i], &words[i * stride], sizeof *values);
    return facet_shard_append_floats(part, field->feature, values, n);
  }
  for (int64_t i = 0; i < n; i++) {
    const int32_t raw = words[i * stride];
    scratch[i] = raw == EMPTY ? FACET_ID_UNKNOWN : field->final_id[raw];
  }
  return facet_shard_append_ids(part, field->feature, scratch, n);
}
