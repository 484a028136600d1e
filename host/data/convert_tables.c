/* Attributes of users and items: files to columns by id, vocabularies of their values, tables.h5. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/convert_internal.h"
#include "facet/log.h"
#include "facet/memory.h"

typedef struct table_column {
  const convert_entity *entity;
  const convert_attribute *attribute;
  int position; /* of the column in the file */
  float missing;
  bool has_missing;
  facet_vocabulary *vocabulary; /* of the values; NULL for floats */
  int32_t *ids;                 /* [n_rows] one value */
  float *floats;                /* [n_rows] */
  int64_t *first;               /* bags: [n_rows] into values, in order of reading */
  int32_t *count;               /* bags: [n_rows] */
  int32_t *values;
  size_t values_capacity;
  int64_t n_values, n_cut; /* values beyond `bag` are cut and counted */
  int64_t n_unknown;       /* with --freeze: values that the earlier vocabulary lacks */
} table_column;

struct convert_tables {
  int n_columns;
  table_column columns[2 * CONVERT_MAX_ATTRIBUTES];
};

facet_status convert_attribute_vocabulary_get(conversion *self, const char *name, facet_vocabulary **vocabulary) {
  convert_attribute_vocabulary *found = self->vocabularies;
  while (strcmp(found->name, name) != 0) found++; /* the configuration's reader listed every name */
  if (!found->vocabulary) FACET_TRY(convert_open_vocabulary(self, name, &found->vocabulary));
  *vocabulary = found->vocabulary;
  return FACET_OK;
}

bool convert_read_float(const delimited_field *field, float *value) {
  double number;
  if (!delimited_double(field, &number) || fabs(number) > FLT_MAX) return false;
  *value = (float)number;
  return true;
}

facet_status convert_read_missing(const conversion *self, const convert_attribute *attribute, float *missing,
                                  bool *has_missing) {
  const delimited_field text = {.text = (char *)(uintptr_t)attribute->missing, .n_bytes = strlen(attribute->missing)};
  *has_missing = text.n_bytes > 0;
  FACET_CHECK(!*has_missing || convert_read_float(&text, missing), FACET_ERROR_USAGE,
              "%s: `missing` of column %s is \"%s\", expected a finite number", self->request->config, attribute->name,
              attribute->missing);
  return FACET_OK;
}

static facet_status create_column(conversion *self, const convert_entity *entity, const convert_attribute *attribute,
                                  const delimited_reader *reader, table_column *column) {
  const int64_t n_rows = facet_vocabulary_size(entity->final);
  column->entity = entity;
  column->attribute = attribute;
  FACET_TRY(delimited_column(reader, attribute->column, &column->position));
  if (attribute->type == CONVERT_ATTRIBUTE_FLOAT) {
    FACET_TRY(convert_read_missing(self, attribute, &column->missing, &column->has_missing));
    FACET_TRY(FACET_ALLOC(column->floats, n_rows, "attribute column"));
    for (int64_t i = FACET_ID_UNKNOWN; i < n_rows; i++) column->floats[i] = column->missing;
    return FACET_OK;
  }
  FACET_TRY(convert_attribute_vocabulary_get(self, attribute->vocabulary, &column->vocabulary));
  if (!attribute->separator[0]) {
    FACET_TRY(FACET_ALLOC(column->ids, n_rows, "attribute column"));
    for (int64_t i = FACET_ID_UNKNOWN; i < n_rows; i++) column->ids[i] = FACET_ID_UNKNOWN;
    return FACET_OK;
  }
  FACET_TRY(FACET_ALLOC(column->first, n_rows, "attribute column"));
  return FACET_ALLOC(column->count, n_rows, "attribute column");
}

static facet_status read_token(const conversion *self, table_column *column, const delimited_reader *reader,
                               const char *token, size_t n_bytes, int32_t *id) {
  if (convert_token_id(self, column->vocabulary, token, n_bytes, id) != FACET_OK)
    return facet_error_context("%s:%lld", delimited_path(reader), (long long)delimited_line(reader));
  column->n_unknown += *id == FACET_ID_UNKNOWN;
  return FACET_OK;
}

static facet_status read_bag(const conversion *self, table_column *column, int64_t row, const delimited_reader *reader,
                             const char *text) {
  const char *separator = delimited_separator(column->attribute->separator);
  const size_t separator_bytes = strlen(separator);
  column->first[row] = column->n_values;
  for (const char *next; text; text = next) {
    const char *stop = strstr(text, separator);
    next = stop ? stop + separator_bytes : NULL;
    const size_t n_bytes = stop ? (size_t)(stop - text) : strlen(text);
    if (n_bytes == 0) continue;
    if (column->count[row] == column->attribute->bag) {
      column->n_cut++;
      continue;
    }
    int32_t id;
    FACET_TRY(read_token(self, column, reader, text, n_bytes, &id));
    FACET_TRY(FACET_GROW(column->values, column->values_capacity, column->n_values + 1, "attribute values"));
    column->values[column->n_values++] = id;
    column->count[row]++;
  }
  return FACET_OK;
}

static facet_status read_value(const conversion *self, table_column *column, int64_t row, const delimited_field *field,
                               const delimited_reader *reader) {
  if (column->first) return read_bag(self, column, row, reader, field->text);
  if (column->ids) {
    if (field->n_bytes == 0) return FACET_OK; /* stays unknown */
    return read_token(self, column, reader, field->text, field->n_bytes, &column->ids[row]);
  }
  if (field->n_bytes == 0 && column->has_missing) return FACET_OK; /* stays `missing` */
  FACET_CHECK(convert_read_float(field, &column->floats[row]), FACET_ERROR_DATA,
              "%s:%lld: %s is \"%s\", expected a finite number%s", delimited_path(reader),
              (long long)delimited_line(reader), column->attribute->column, field->text,
              column->has_missing ? "" : " (`missing` gives a value to empty fields)");
  return FACET_OK;
}

/* A user or item without a row has unknown ids and empty bags; a float must have a value for it. */
static facet_status check_missing(const convert_entity *entity, const table_column *columns, const bool *is_read) {
  const int64_t n_rows = facet_vocabulary_size(entity->final);
  for (int c = 0; c < entity->n_attributes; c++) {
    if (!columns[c].floats || columns[c].has_missing) continue;
    int64_t row = FACET_ID_FIRST;
    while (row < n_rows && is_read[row]) row++;
    if (row == n_rows) continue;
    size_t n_bytes;
    FACET_FAIL(FACET_ERROR_DATA, "%s has no row for %s \"%s\", and `missing` gives column %s no value for it",
               entity->file.file, entity->name, facet_vocabulary_token(entity->final, row, &n_bytes),
               columns[c].attribute->name);
  }
  return FACET_OK;
}

/* Reads the rows of one entity's file into its columns. */
static facet_status read_rows(conversion *self, const convert_entity *entity, table_column *columns,
                              delimited_reader *reader) {
  int key;
  bool *is_read;
  int64_t n_used = 0, n_other = 0, n_repeated = 0;
  const int64_t n_rows = facet_vocabulary_size(entity->final);
  FACET_TRY(delimited_column(reader, entity->file.key, &key));
  FACET_TRY(FACET_ALLOC(is_read, n_rows, "attribute rows"));
  facet_status status = FACET_OK;
  for (;;) {
    const delimited_field *fields;
    int n;
    FACET_TRY_GOTO(status, done, delimited_next(reader, &fields, &n));
    if (n == 0) break;
    if (n != delimited_n_columns(reader)) {
      status =
          facet_error_set(FACET_ERROR_DATA, __FILE__, __LINE__, "%s:%lld: %d fields, expected %d",
                          delimited_path(reader), (long long)delimited_line(reader), n, delimited_n_columns(reader));
      goto done;
    }
    const int64_t row = facet_vocabulary_find(entity->final, fields[key].text, fields[key].n_bytes);
    n_other += row < FACET_ID_FIRST;
    if (row < FACET_ID_FIRST || is_read[row]) {
      n_repeated += row >= FACET_ID_FIRST;
      continue;
    }
    is_read[row] = true;
    n_used++;
    for (int c = 0; c < entity->n_attributes; c++)
      FACET_TRY_GOTO(status, done, read_value(self, &columns[c], row, &fields[columns[c].position], reader));
  }
  FACET_TRY_GOTO(status, done, check_missing(entity, columns, is_read));
  fprintf(self->request->report,
          "%s attributes: %lld of %lld %ss have a row in %s; %lld rows of others, %lld repeated\n", entity->name,
          (long long)n_used, (long long)n_rows - FACET_ID_FIRST, entity->name, entity->file.file, (long long)n_other,
          (long long)n_repeated);
done:
  facet_memory_free(is_read);
  return status;
}

static void report_columns(FILE *report, const convert_entity *entity, const table_column *columns) {
  for (int c = 0; c < entity->n_attributes; c++) {
    if (columns[c].n_cut > 0)
      fprintf(report, "%s.%s: %lld values beyond the first %lld of their field were cut\n", entity->name,
              columns[c].attribute->name, (long long)columns[c].n_cut, (long long)columns[c].attribute->bag);
    if (columns[c].n_unknown > 0)
      fprintf(report, "%s.%s: %lld values are not in the earlier vocabulary and become unknown\n", entity->name,
              columns[c].attribute->name, (long long)columns[c].n_unknown);
  }
}

static facet_status read_entity(conversion *self, const convert_entity *entity, convert_tables *tables) {
  delimited_reader *reader;
  if (!entity->has_file) return FACET_OK;
  FACET_TRY(convert_open_text(self, &entity->file, entity->file.file, &reader));
  table_column *columns = &tables->columns[tables->n_columns];
  facet_status status = FACET_OK;
  for (int c = 0; status == FACET_OK && c < entity->n_attributes; c++)
    status = create_column(self, entity, &entity->attributes[c], reader, &tables->columns[tables->n_columns++]);
  if (status == FACET_OK) status = read_rows(self, entity, columns, reader);
  delimited_close(&reader);
  if (status == FACET_OK) report_columns(self->request->report, entity, columns);
  return status;
}

facet_status convert_read_tables(conversion *self, convert_tables **tables) {
  FACET_TRY(FACET_ALLOC(*tables, 1, "attribute tables"));
  for (int e = 0; e < CONVERT_N_ENTITIES; e++) FACET_TRY(read_entity(self, &self->entities[e], *tables));
  return FACET_OK;
}

/* Puts the values of a bag in the order of the rows. */
static facet_status order_bags(const table_column *column, int64_t n_rows, int64_t **offsets, int32_t **values) {
  *values = NULL;
  FACET_TRY(FACET_ALLOC(*offsets, n_rows + 1, "attribute values"));
  FACET_TRY(FACET_ALLOC(*values, column->n_values, "attribute values"));
  for (int64_t row = 0; row < n_rows; row++) {
    const int64_t n = column->count[row];
    if (n > 0) memcpy(*values + (*offsets)[row], column->values + column->first[row], (size_t)n * sizeof **values);
    (*offsets)[row + 1] = (*offsets)[row] + n;
  }
  return FACET_OK;
}

facet_status convert_write_tables(const conversion *self, const convert_tables *tables) {
  facet_table_column columns[2 * CONVERT_MAX_ATTRIBUTES];
  int64_t *offsets[2 * CONVERT_MAX_ATTRIBUTES] = {0};
  int32_t *values[2 * CONVERT_MAX_ATTRIBUTES] = {0};
  char path[FACET_PATH_MAX];
  facet_status status = FACET_OK;
  if (tables->n_columns == 0) return FACET_OK;
  for (int c = 0; c < tables->n_columns; c++) {
    const table_column *column = &tables->columns[c];
    columns[c] = (facet_table_column){.vocabulary = facet_schema_vocabulary(self->schema, column->entity->name),
                                      .column = column->attribute->name,
                                      .type = column->floats ? FACET_FEATURE_FLOAT : FACET_FEATURE_ID,
                                      .length = 1,
                                      .is_bag = column->first != NULL,
                                      .values = column->floats ? (const void *)column->floats : column->ids};
    if (!column->first) continue;
    FACET_TRY_GOTO(status, done,
                   order_bags(column, facet_vocabulary_size(column->entity->final), &offsets[c], &values[c]));
    columns[c].offsets = offsets[c];
    columns[c].values = values[c];
  }
  FACET_TRY_GOTO(status, done, facet_path_format(path, "%s/tables.h5", self->directory));
  status = facet_tables_write(self->schema, path, columns, tables->n_columns);
done:
  for (int c = 0; c < tables->n_columns; c++) {
    facet_memory_free(offsets[c]);
    facet_memory_free(values[c]);
  }
  return status;
}

void convert_destroy_tables(convert_tables **tables) {
  if (!*tables) return;
  for (int c = 0; c < (*tables)->n_columns; c++) {
    table_column *column = &(*tables)->columns[c];
    facet_memory_free(column->ids);
    facet_memory_free(column->floats);
    facet_memory_free(column->first);
    facet_memory_free(column->count);
    facet_memory_free(column->values);
  }
  facet_memory_free(*tables);
  *tables = NULL;
}
