/* Reading delimited text: fields, lines, quotes, headers, numbers, and what it refuses. */
#include "data/delimited.h"

#include <stdio.h>

#include "convert_fixture.h"
#include "fixture.h"

TestSuite(delimited, .init = converter_create, .fini = converter_remove);

static const delimited_format tsv = {.separator = "tab", .header = true};
static const delimited_format csv = {.separator = "comma", .header = true, .quoted = true};

static delimited_reader *open_text(const char *text, const delimited_format *format) {
  delimited_reader *reader;
  converter_write("text", text);
  EXPECT_OK(delimited_open(converter_path("text"), format, &reader));
  return reader;
}

/* The rows of a text as "line:field|field\n"; the separator of fields is |. */
static void expect_rows(const char *text, const delimited_format *format, const char *expected) {
  delimited_reader *reader = open_text(text, format);
  char *rows;
  size_t n_bytes;
  FILE *out = open_memstream(&rows, &n_bytes);
  for (;;) {
    const delimited_field *fields;
    int n;
    EXPECT_OK(delimited_next(reader, &fields, &n));
    if (n == 0) break;
    fprintf(out, "%d:", (int)delimited_line(reader));
    for (int i = 0; i < n; i++) {
      cr_assert(strlen(fields[i].text) == fields[i].n_bytes);
      fprintf(out, "%s%s", i ? "|" : "", fields[i].text);
    }
    fputc('\n', out);
  }
  fclose(out);
  delimited_close(&reader);
  converter_expect(rows, expected);
}

Test(delimited, rows_and_line_numbers) {
  expect_rows("a\tb\n1\t2\n\n3\t\n", &tsv, "2:1|2\n4:3|\n");
  expect_rows("a\tb\n1\t2", &tsv, "2:1|2\n"); /* no newline at the end */
  expect_rows("a\tb\r\n1\t2\r\n\r\n3\t4\r\n", &tsv, "2:1|2\n4:3|4\n");
  expect_rows("\xef\xbb\xbf"
              "a\tb\n1\t2\n",
              &tsv, "2:1|2\n");                              /* byte order mark */
  expect_rows("a\tb\n1\n2\t3\t4\n", &tsv, "2:1\n3:2|3|4\n"); /* the caller checks the number of fields */
}

Test(delimited, separators) {
  const delimited_format named[] = {{.separator = "comma"},
                                    {.separator = "semicolon"},
                                    {.separator = "space"},
                                    {.separator = "::"},
                                    {.separator = "|"}};
  static const char *const texts[] = {"1,2\n3,4\n", "1;2\n3;4\n", "1 2\n3 4\n", "1::2\n3::4\n", "1|2\n3|4\n"};
  for (int i = 0; i < 5; i++) expect_rows(texts[i], &named[i], "1:1|2\n2:3|4\n");
  expect_rows("1::2:3::\n", &named[3], "1:1|2:3|\n");
}

Test(delimited, quotes) {
  expect_rows("a,b\n\"x,y\",\"say \"\"hi\"\"\"\n", &csv, "2:x,y|say \"hi\"\n");
  expect_rows("a,b\n\"\",\"\"\"\"\nx\"y,z\n", &csv, "2:|\"\n3:x\"y|z\n");
  expect_rows("a\tb\n\"x\t\"y\n", &tsv, "2:\"x|\"y\n"); /* without `quoted` a quote is a character */
}

Test(delimited, blank_lines_before_the_first_row) {
  const delimited_format numbered = {.separator = "comma"};
  expect_rows("\r\n\n1,2\n", &numbered, "3:1|2\n");
  expect_rows("\n\na,b\n1,2\n", &csv, "4:1|2\n");
}

Test(delimited, columns_by_name) {
  delimited_reader *reader = open_text("\"user id\",item,time\n", &csv);
  int index;
  EXPECT_OK(delimited_column(reader, "time", &index));
  cr_assert(index == 2 && delimited_n_columns(reader) == 3);
  EXPECT_OK(delimited_column(reader, "user id", &index));
  cr_assert(index == 0);
  EXPECT_ERROR(FACET_ERROR_USAGE, delimited_column(reader, "tim", &index), "/text has no column \"tim\"");
  cr_assert(strstr(facet_error_get()->hint, "\"time\""));
  delimited_close(&reader);
}

Test(delimited, columns_by_number) {
  const delimited_format numbered = {.separator = "comma"};
  delimited_reader *reader = open_text("u,i,t\n", &numbered);
  static const char *const wrong[] = {"0", "4", "-1", "1x", "", "user"};
  int index;
  EXPECT_OK(delimited_column(reader, "3", &index));
  cr_assert(index == 2);
  for (int i = 0; i < 6; i++)
    EXPECT_ERROR(FACET_ERROR_USAGE, delimited_column(reader, wrong[i], &index), wrong[i],
                 "expected a number from 1 to 3");
  delimited_close(&reader);
}

/* Lines across and beyond the blocks of reading (1 MiB): the first row without a header, too. */
Test(delimited, long_lines_and_many_blocks) {
  const delimited_format numbered = {.separator = "comma"};
  const int n_long = 3 << 20, n_rows = 200000;
  FILE *file = fopen(converter_path("text"), "w");
  for (int i = 0; i < n_long; i++) fputc('a' + i % 26, file);
  fputs(",end\n", file);
  for (int i = 0; i < n_rows; i++) fprintf(file, "%d,%d\n", i, 3 * i);
  fclose(file);
  delimited_reader *reader;
  const delimited_field *fields;
  int n;
  EXPECT_OK(delimited_open(converter_path("text"), &numbered, &reader));
  cr_assert(delimited_n_columns(reader) == 2);
  EXPECT_OK(delimited_next(reader, &fields, &n));
  cr_assert(n == 2 && fields[0].n_bytes == (size_t)n_long && !strcmp(fields[1].text, "end"));
  for (int i = 0; i < n_long; i++) cr_assert(fields[0].text[i] == 'a' + i % 26);
  for (int i = 0; i < n_rows; i++) {
    EXPECT_OK(delimited_next(reader, &fields, &n));
    cr_assert(n == 2 && atoi(fields[0].text) == i && atoi(fields[1].text) == 3 * i && delimited_line(reader) == i + 2);
  }
  EXPECT_OK(delimited_next(reader, &fields, &n));
  cr_assert(n == 0 && delimited_bytes_read(reader) == delimited_bytes_total(reader));
  delimited_close(&reader);
}

Test(delimited, numbers) {
  static const struct {
    const char *text;
    bool is_int, is_double;
    int64_t whole;
    double number;
  } cases[] = {{"12", true, true, 12, 12},
               {"-7", true, true, -7, -7},
               {"12.75", true, true, 12, 12.75},
               {"1e3", true, true, 1000, 1000},
               {"9223372036854775807", true, true, INT64_MAX, 9223372036854775807.0},
               {"9223372036854775808", false, true, 0, 9223372036854775808.0},
               {"1e300", false, true, 0, 1e300},
               {"", false, false, 0, 0},
               {"12 ", false, false, 0, 0},
               {"12x", false, false, 0, 0},
               {"1,5", false, false, 0, 0},
               {"nan", false, false, 0, 0},
               {"inf", false, false, 0, 0},
               {"1e999", false, false, 0, 0}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char text[32];
    snprintf(text, sizeof text, "%s", cases[i].text);
    const delimited_field field = {.text = text, .n_bytes = strlen(text)};
    int64_t whole;
    double number;
    const bool is_int = delimited_int64(&field, &whole), is_double = delimited_double(&field, &number);
    cr_assert(is_int == cases[i].is_int && (!is_int || whole == cases[i].whole), "%s", text);
    cr_assert(is_double == cases[i].is_double && (!is_double || number == cases[i].number), "%s", text);
  }
}

/* ---- what is refused ----------------------------------------------------------------------------------------- */

static facet_status read_all(const delimited_format *format) {
  delimited_reader *reader;
  const delimited_field *fields;
  int n;
  FACET_TRY(delimited_open(converter_path("text"), format, &reader));
  facet_status status;
  do status = delimited_next(reader, &fields, &n);
  while (status == FACET_OK && n > 0);
  delimited_close(&reader);
  return status;
}

Test(delimited, errors_name_file_and_line) {
  converter_write("text", "a,b\n1,2\n\n\"x,y\n");
  EXPECT_ERROR(FACET_ERROR_DATA, read_all(&csv), "/text:4: a quoted field is not closed");
  converter_write("text", "a,b\n\"x\"y,2\n");
  EXPECT_ERROR(FACET_ERROR_DATA, read_all(&csv), "/text:2: text follows a closing quote");
  converter_write_bytes("text", "a,b\n1,\0002\n", 9);
  EXPECT_ERROR(FACET_ERROR_DATA, read_all(&csv), "/text:2: the line holds a zero byte");
  converter_write("text", "");
  EXPECT_ERROR(FACET_ERROR_DATA, read_all(&csv), "/text is empty; expected a header line");
  const delimited_format numbered = {.separator = "comma"};
  converter_write("text", "\n\n");
  EXPECT_ERROR(FACET_ERROR_DATA, read_all(&numbered), "/text is empty; expected rows");
}

Test(delimited, too_many_fields) {
  char commas[DELIMITED_MAX_FIELDS + 1] = "";
  memset(commas, ',', DELIMITED_MAX_FIELDS - 1);
  const delimited_format numbered = {.separator = "comma"};
  converter_write("text", commas);
  EXPECT_OK(read_all(&numbered)); /* 1024 empty fields */
  commas[DELIMITED_MAX_FIELDS - 1] = ',';
  converter_write("text", commas);
  EXPECT_ERROR(FACET_ERROR_DATA, read_all(&numbered), "/text:1: more than 1024 fields");
}

Test(delimited, a_line_longer_than_the_limit) {
  FILE *file = fopen(converter_path("text"), "w"); /* a file with a hole: zeros to the end, and no newline */
  cr_assert(file && fputs("a\tb\n", file) >= 0 && fflush(file) == 0);
  cr_assert(ftruncate(fileno(file), (off_t)70 << 20) == 0 && fclose(file) == 0);
  EXPECT_ERROR(FACET_ERROR_DATA, read_all(&tsv), "/text:2: the line is longer than");
}

Test(delimited, files_that_cannot_be_read) {
  EXPECT_ERROR(FACET_ERROR_IO, read_all(&tsv), "cannot open", "/text", "No such file");
  EXPECT_OK(facet_directory_create(converter_path("text")));
  EXPECT_ERROR(FACET_ERROR_IO, read_all(&tsv), "cannot read", "/text", "directory");
}

Test(delimited, separators_of_no_or_too_many_characters) {
  converter_write("text", "a\n");
  EXPECT_ERROR(FACET_ERROR_USAGE, read_all(&(delimited_format){.separator = ""}), "separator \"\"",
               "expected 1 to 15 characters");
  EXPECT_ERROR(FACET_ERROR_USAGE, read_all(&(delimited_format){.separator = "----------------"}), "----------------");
}
