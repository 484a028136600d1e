/* Delimited text (TSV, CSV, "::"): rows of fields, with file and line for messages. Private to host/data. */
#ifndef FACET_DELIMITED_H
#define FACET_DELIMITED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "facet/file.h"
#include "facet/status.h"

#define DELIMITED_MAX_FIELDS 1024

typedef struct delimited_field {
  char *text; /* 0-terminated, in the reader's buffer; valid until the next row */
  size_t n_bytes;
} delimited_field;

typedef struct delimited_format {
  const char *separator; /* "tab", "comma", "space", "semicolon", or the characters themselves */
  bool header;           /* the first line names the columns; otherwise they are numbered from 1 */
  bool quoted;           /* fields may be in double quotes, "" inside them for a quote; no line breaks inside */
} delimited_format;

/* A name of a separator as its characters: "comma" is ",". */
const char *delimited_separator(const char *name);

typedef struct delimited_reader delimited_reader;

facet_status delimited_open(const char *path, const delimited_format *format, delimited_reader **reader);
void delimited_close(delimited_reader **reader);

/* Index of a column given by its header name, or by its number from 1 in a file without header. */
facet_status delimited_column(const delimited_reader *reader, const char *name, int *index);

/* The next row that is not empty: *n_fields = 0 at the end. *fields has at least as many fields as there are columns in the
 * header or first row, unless the row is shorter (the caller checks). Lines end in \n or \r\n. */
facet_status delimited_next(delimited_reader *reader, const delimited_field **fields, int *n_fields);

int delimited_n_columns(const delimited_reader *reader);
int64_t delimited_line(const delimited_reader *reader); /* of the present row, from 1 */
const char *delimited_path(const delimited_reader *reader);
int64_t delimited_bytes_read(const delimited_reader *reader);
int64_t delimited_bytes_total(const delimited_reader *reader);

/* Whole field as a number; false if it is not one. Times may have a fraction, which is cut. */
bool delimited_int64(const delimited_field *field, int64_t *value);
bool delimited_double(const delimited_field *field, double *value);

#endif
