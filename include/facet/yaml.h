/* YAML documents with the line and column of every node (libyaml's document API behind one file).
 *
 * Mappings, sequences and scalars are read by typed accessors; each error names file, line, column, the value and
 * what was expected, and has the status that the document was loaded with: FACET_ERROR_USAGE for configurations,
 * FACET_ERROR_DATA for schemas. Anchors, aliases, tags, duplicate keys, keys that are not scalars, and several
 * documents in one file are errors. Numbers, true and false are plain scalars: "512" in quotes is text. */
#ifndef FACET_YAML_H
#define FACET_YAML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "facet/status.h"

typedef struct facet_yaml facet_yaml;

typedef struct facet_yaml_node { /* a value: cheap to copy; valid as long as its document */
  const facet_yaml *document;
  int id;     /* 0: no node (a missing key) */
  int parent; /* of a missing key: the mapping that lacks it, for the position in messages; else 0 */
} facet_yaml_node;

typedef enum facet_yaml_kind {
  FACET_YAML_MISSING,
  FACET_YAML_SCALAR,
  FACET_YAML_SEQUENCE,
  FACET_YAML_MAPPING
} facet_yaml_kind;

/* `status` is the status of every error found in the document (unreadable files are FACET_ERROR_IO).
 * The caller owns *document. Text larger than 16 MB, or nested deeper than 64 levels, is refused. */
facet_status facet_yaml_load(const char *path, facet_status status, facet_yaml **document);
facet_status facet_yaml_parse(const char *name, const char *text, size_t n_bytes, facet_status status,
                              facet_yaml **document);
/* The value of a command-line argument: messages begin with `name` alone, without line and column. */
facet_status facet_yaml_parse_argument(const char *name, const char *text, facet_yaml **document);
void facet_yaml_destroy(facet_yaml **document);

facet_yaml_node facet_yaml_root(const facet_yaml *document);
facet_yaml_kind facet_yaml_node_kind(facet_yaml_node node);
/* A plain scalar that is empty, ~ or null: a key with nothing behind it. Not text; write "" for empty text. */
bool facet_yaml_is_null(facet_yaml_node node);

/* Value of a key in a mapping; a missing node if the key is absent or `mapping` is itself missing. */
facet_yaml_node facet_yaml_get(facet_yaml_node mapping, const char *key);

int64_t facet_yaml_n_items(facet_yaml_node node);                     /* items of a sequence, or pairs of a mapping */
facet_yaml_node facet_yaml_item(facet_yaml_node sequence, int64_t i); /* item i of a sequence */
const char *facet_yaml_key(facet_yaml_node mapping, int64_t i);       /* key of pair i, owned by the document */
facet_yaml_node facet_yaml_key_node(facet_yaml_node mapping, int64_t i);
facet_yaml_node facet_yaml_value(facet_yaml_node mapping, int64_t i);

/* Requires the kind; `what` names the thing in the error ("the list of features"). */
facet_status facet_yaml_expect(facet_yaml_node node, facet_yaml_kind kind, const char *what);

/* Typed scalars. A missing node is an error that names `what`. Strings are owned by the document. */
facet_status facet_yaml_string(facet_yaml_node node, const char *what, const char **out);
facet_status facet_yaml_int(facet_yaml_node node, const char *what, int64_t low, int64_t high, int64_t *out);
facet_status facet_yaml_double(facet_yaml_node node, const char *what, double low, double high, double *out);
facet_status facet_yaml_bool(facet_yaml_node node, const char *what, bool *out);
/* Index of the scalar in `choices` (n of them); the error lists the choices and suggests the nearest. */
facet_status facet_yaml_choice(facet_yaml_node node, const char *what, const char *const *choices, int n, int *out);

/* Every key of the mapping must be one of `known` (n); the error names line, column and the nearest known key. */
facet_status facet_yaml_check_keys(facet_yaml_node mapping, const char *const *known, int n);

/* "file:line:column" of a node (of a missing one: of the mapping that lacks it, or "file") into buffer; returns buffer. */
const char *facet_yaml_where(facet_yaml_node node, char *buffer, size_t n_bytes);

/* Fails with "<file>:<line>:<column>: <message>" and the document's status. */
facet_status facet_yaml_fail(facet_yaml_node node, const char *format, ...) FACET_PRINTF(2, 3);

/* The entry of `names` (n) with the smallest edit distance to `name`, ignoring case, or NULL if none is near: at most
 * 1, 2 or a third of the name's length in changes, for names of up to 3, up to 8, and more bytes. */
const char *facet_nearest_name(const char *name, const char *const *names, int n);

#endif
