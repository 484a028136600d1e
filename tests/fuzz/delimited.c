/* Delimited text. The first byte of the input is the format; behind it a 0-terminated separator, and the file. */
#include <string.h>

#include "common/fuzz.h"
#include "data/delimited.h"

enum { HEADER = 1, QUOTED = 2, NAMED = 4, LONG = 8 }; /* NAMED: a separator by name; LONG: a line of a block in front */

static const char *const names[] = {"tab", "comma", "space", "semicolon"};

/* The file is read in blocks of 1 MB: one ends inside the input. */
static void write_long(const char *path, const char *text, size_t n_bytes) {
  const size_t n_before = ((size_t)1 << 20) - n_bytes / 2;
  char *all = facet_memory_alloc(n_before + n_bytes, 1, "a long file");
  FUZZ_CHECK(all, "memory for a long file");
  memset(all, 'x', n_before);
  all[n_before - 1] = '\n';
  memcpy(all + n_before, text, n_bytes);
  fuzz_write(path, all, n_before + n_bytes);
  facet_memory_free(all);
}

static facet_status read_rows(delimited_reader *reader) {
  const delimited_field *fields;
  int n;
  for (int64_t line = 0;; line = delimited_line(reader)) {
    FACET_TRY(delimited_next(reader, &fields, &n));
    if (n == 0) break;
    FUZZ_CHECK(n > 0 && n <= DELIMITED_MAX_FIELDS, "number of fields");
    FUZZ_CHECK(delimited_line(reader) > line || line == 1, "lines do not rise"); /* the first may be given out late */
    for (int i = 0; i < n; i++) {
      int64_t integer;
      double number;
      FUZZ_CHECK(strlen(fields[i].text) == fields[i].n_bytes, "the end of a field");
      delimited_int64(&fields[i], &integer);
      delimited_double(&fields[i], &number);
    }
  }
  FUZZ_CHECK(delimited_bytes_read(reader) == delimited_bytes_total(reader), "bytes at the end");
  return FACET_OK;
}

static void run(const uint8_t *data, size_t n_bytes) {
  if (n_bytes < 2) return;
  const uint8_t flags = data[0];
  fuzz_parts parts = fuzz_split(data + 1, n_bytes - 1, 2);
  const delimited_format format = {.separator = flags & NAMED ? names[flags / 16 % 4] : parts.part[0],
                                   .header = flags & HEADER,
                                   .quoted = flags & QUOTED};
  const char *path = fuzz_path("log.txt");
  if (flags & LONG)
    write_long(path, parts.part[1], parts.n_bytes[1]);
  else
    fuzz_write(path, parts.part[1], parts.n_bytes[1]);
  delimited_reader *reader;
  if (fuzz_verdict(delimited_open(path, &format, &reader))) {
    int column;
    if (fuzz_verdict(delimited_column(reader, parts.part[0], &column)))
      FUZZ_CHECK(column >= 0 && column < delimited_n_columns(reader), "number of a column");
    fuzz_verdict(delimited_column(reader, "2", &column));
    fuzz_verdict(read_rows(reader));
    delimited_close(&reader);
  }
  fuzz_parts_free(&parts);
}

static void seeds(fuzz_emit emit) {
#define SEED(name, text) emit(name, text, sizeof text - 1)
  SEED("tab", "\x05user\0user\titem\ttime\r\nu1\ti2\t10\r\n\r\nu2\t\t1e3");
  SEED("quoted", "\x17"
                 "b\0\xef\xbb\xbf"
                 "a,b\n\"x\"\"y\",2\n\"\",-0x1p3\n\"open,1\n");
  SEED("characters", "\x00::\0a::b::::c\n9223372036854775808::nan::inf\n");
  SEED("long", "\x0c"
               "1\0a\tb\nc\td\n");
#undef SEED
}

const fuzz_target fuzz = {.run = run, .seeds = seeds};
