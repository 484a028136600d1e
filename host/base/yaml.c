/* Loading YAML. A first pass over libyaml's events refuses what facet does not read (anchors, tags, deep nesting,
 * several documents) where it stands, before libyaml's document API builds the nodes. */
#include "base/yaml_document.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "facet/file.h"
#include "facet/memory.h"

#define MAX_BYTES ((size_t)16 << 20)
#define MAX_DEPTH 64

/* ---- errors ---- */

static facet_status fail_at(const facet_yaml *yaml, size_t line, size_t column, const char *message) {
  if (yaml->is_argument) FACET_FAIL(yaml->status, "%s: %s", yaml->name, message);
  FACET_FAIL(yaml->status, "%s:%zu:%zu: %s", yaml->name, line, column, message);
}

/* Line and column of a byte of the text, from 1; for errors of libyaml's reader, which carry an offset only. */
static void locate(const char *text, size_t offset, size_t *line, size_t *column) {
  *line = 1, *column = 1;
  for (size_t i = 0; i < offset; i++) {
    bool is_continuation = ((unsigned char)text[i] & 0xC0) == 0x80; /* of a UTF-8 character */
    if (text[i] == '\n') {
      ++*line, *column = 1;
    } else if (!is_continuation) {
      ++*column;
    }
  }
}

/* Describes libyaml's error: "mapping values are not allowed in this context". */
static facet_status fail_parser(const facet_yaml *yaml, const yaml_parser_t *parser, const char *text, size_t n_bytes) {
  char message[512];
  FACET_CHECK(parser->error != YAML_MEMORY_ERROR, FACET_ERROR_INTERNAL, "%s: out of memory while parsing YAML",
              yaml->name);
  const char *problem = parser->problem ? parser->problem : "unknown problem";
  if (parser->error == YAML_READER_ERROR) {
    size_t offset = parser->problem_offset < n_bytes ? parser->problem_offset : n_bytes, line, column;
    locate(text, offset, &line, &column);
    snprintf(message, sizeof message, "not valid YAML: %s", problem);
    return fail_at(yaml, line, column, message);
  }
  snprintf(message, sizeof message, "not valid YAML: %s%s%s", problem, parser->context ? " " : "",
           parser->context ? parser->context : "");
  return fail_at(yaml, parser->problem_mark.line + 1, parser->problem_mark.column + 1, message);
}

/* ---- first pass: events ---- */

typedef struct scan_state {
  int depth;
  int n_documents;
} scan_state;

static facet_status check_event(const facet_yaml *yaml, const yaml_event_t *event, scan_state *state) {
  size_t line = event->start_mark.line + 1, column = event->start_mark.column + 1;
  const yaml_char_t *anchor = NULL, *tag = NULL;
  bool opens = false, closes = false;
  switch (event->type) {
  case YAML_DOCUMENT_START_EVENT:
    if (++state->n_documents > 1) return fail_at(yaml, line, column, "a second document; expected only one");
    break;
  case YAML_ALIAS_EVENT:
    return fail_at(yaml, line, column, "an alias (*); write the value out, aliases are not supported");
  case YAML_SCALAR_EVENT:
    anchor = event->data.scalar.anchor, tag = event->data.scalar.tag;
    break;
  case YAML_SEQUENCE_START_EVENT:
    anchor = event->data.sequence_start.anchor, tag = event->data.sequence_start.tag, opens = true;
    break;
  case YAML_MAPPING_START_EVENT:
    anchor = event->data.mapping_start.anchor, tag = event->data.mapping_start.tag, opens = true;
    break;
  case YAML_SEQUENCE_END_EVENT:
  case YAML_MAPPING_END_EVENT:
    closes = true;
    break;
  default:
    break;
  }
  if (anchor) return fail_at(yaml, line, column, "an anchor (&); anchors are not supported");
  if (tag) return fail_at(yaml, line, column, "a tag (!); tags are not supported");
  state->depth += opens - closes;
  if (state->depth > MAX_DEPTH) return fail_at(yaml, line, column, "nested deeper than 64 levels");
  return FACET_OK;
}

static facet_status scan_events(const facet_yaml *yaml, const char *text, size_t n_bytes) {
  yaml_parser_t parser;
  scan_state state = {0};
  FACET_CHECK(yaml_parser_initialize(&parser), FACET_ERROR_INTERNAL, "%s: out of memory while parsing YAML",
              yaml->name);
  yaml_parser_set_input_string(&parser, (const unsigned char *)text, n_bytes);
  facet_status status = FACET_OK;
  for (bool done = false; !done && status == FACET_OK;) {
    yaml_event_t event;
    if (!yaml_parser_parse(&parser, &event)) {
      status = fail_parser(yaml, &parser, text, n_bytes);
      break;
    }
    status = check_event(yaml, &event, &state);
    done = event.type == YAML_STREAM_END_EVENT;
    yaml_event_delete(&event);
  }
  yaml_parser_delete(&parser);
  return status;
}

/* ---- second pass: nodes ---- */

static facet_status load_nodes(facet_yaml *yaml, const char *text, size_t n_bytes) {
  yaml_parser_t parser;
  FACET_CHECK(yaml_parser_initialize(&parser), FACET_ERROR_INTERNAL, "%s: out of memory while parsing YAML",
              yaml->name);
  yaml_parser_set_input_string(&parser, (const unsigned char *)text, n_bytes);
  facet_status status = FACET_OK;
  yaml->is_loaded = yaml_parser_load(&parser, &yaml->document);
  if (!yaml->is_loaded) status = fail_parser(yaml, &parser, text, n_bytes);
  yaml_parser_delete(&parser);
  return status;
}

typedef struct key_position {
  const char *key;
  int id; /* of the key's node: ascending in the order of the text */
} key_position;

static int compare_keys(const void *a, const void *b) {
  const key_position *x = a, *y = b;
  int order = strcmp(x->key, y->key);
  return order ? order : (x->id > y->id) - (x->id < y->id);
}

/* Keys are scalars and different; the error is about the first key that repeats an earlier one. */
static facet_status check_mapping(const facet_yaml *yaml, int id) {
  facet_yaml_node mapping = {.document = yaml, .id = id};
  int64_t n = facet_yaml_n_items(mapping);
  key_position *keys;
  FACET_TRY(FACET_ALLOC(keys, n, "keys of a YAML mapping"));
  facet_status status = FACET_OK;
  for (int64_t i = 0; i < n && status == FACET_OK; i++) {
    facet_yaml_node key = facet_yaml_key_node(mapping, i);
    keys[i] = (key_position){facet_yaml_key(mapping, i), key.id};
    if (facet_yaml_node_kind(key) != FACET_YAML_SCALAR) status = facet_yaml_fail(key, "a key must be a scalar");
  }
  if (status == FACET_OK) {
    qsort(keys, (size_t)n, sizeof *keys, compare_keys);
    int64_t repeated = -1;
    for (int64_t i = 1; i < n; i++) {
      if (strcmp(keys[i - 1].key, keys[i].key) == 0 && (repeated < 0 || keys[i].id < keys[repeated].id)) repeated = i;
    }
    if (repeated >= 0) {
      facet_yaml_node first = {.document = yaml, .id = keys[repeated - 1].id};
      facet_yaml_node second = {.document = yaml, .id = keys[repeated].id};
      status = facet_yaml_fail(second, "the key \"%.200s\" is given twice (first in line %zu)", keys[repeated].key,
                               facet_yaml_raw(first)->start_mark.line + 1);
    }
  }
  facet_memory_free(keys);
  return status;
}

static facet_status check_nodes(const facet_yaml *yaml) {
  int n = (int)(yaml->document.nodes.top - yaml->document.nodes.start);
  for (int id = 1; id <= n; id++) {
    facet_yaml_node node = {.document = yaml, .id = id};
    const yaml_node_t *raw = facet_yaml_raw(node);
    if (raw->type == YAML_SCALAR_NODE && strlen((const char *)raw->data.scalar.value) != raw->data.scalar.length) {
      return facet_yaml_fail(node, "the text contains a 0 byte");
    }
  }
  for (int id = 1; id <= n; id++) {
    if (yaml->document.nodes.start[id - 1].type == YAML_MAPPING_NODE) FACET_TRY(check_mapping(yaml, id));
  }
  return FACET_OK;
}

/* ---- documents ---- */

static facet_status parse(const char *name, const char *text, size_t n_bytes, facet_status error, bool is_argument,
                          facet_yaml **document) {
  *document = NULL;
  facet_yaml *yaml;
  FACET_TRY(FACET_ALLOC(yaml, 1, "YAML document"));
  yaml->status = error;
  yaml->is_argument = is_argument;
  yaml->name = facet_memory_strdup(name);
  facet_status status = yaml->name ? FACET_OK : FACET_ERROR_INTERNAL;
  if (status != FACET_OK) goto done;
  if (n_bytes > MAX_BYTES) {
    status = facet_error_set(error, __FILE__, __LINE__, "%s: %zu bytes of YAML; expected at most %zu", name, n_bytes,
                             MAX_BYTES);
    goto done;
  }
  FACET_TRY_GOTO(status, done, scan_events(yaml, text, n_bytes));
  FACET_TRY_GOTO(status, done, load_nodes(yaml, text, n_bytes));
  FACET_TRY_GOTO(status, done, check_nodes(yaml));
  *document = yaml;
  yaml = NULL;
done:
  facet_yaml_destroy(&yaml);
  return status;
}

facet_status facet_yaml_parse(const char *name, const char *text, size_t n_bytes, facet_status status,
                              facet_yaml **document) {
  return parse(name, text, n_bytes, status, false, document);
}

facet_status facet_yaml_parse_argument(const char *name, const char *text, facet_yaml **document) {
  return parse(name, text, strlen(text), FACET_ERROR_USAGE, true, document);
}

facet_status facet_yaml_load(const char *path, facet_status status, facet_yaml **document) {
  char *text;
  size_t n_bytes;
  *document = NULL;
  FACET_TRY(facet_file_read(path, MAX_BYTES, &text, &n_bytes));
  status = facet_yaml_parse(path, text, n_bytes, status, document);
  facet_memory_free(text);
  return status;
}

void facet_yaml_destroy(facet_yaml **document) {
  facet_yaml *yaml = *document;
  if (!yaml) return;
  if (yaml->is_loaded) yaml_document_delete(&yaml->document);
  facet_memory_free(yaml->name);
  facet_memory_free(yaml);
  *document = NULL;
}
