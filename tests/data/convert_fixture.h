/* Logs and configurations as text, conversions of them, and data sets read back as text, for the suites of the converter.
 * Every test has a directory of its own, made by `.init = converter_create` and removed by `.fini = converter_remove`. */
#ifndef CONVERT_FIXTURE_H
#define CONVERT_FIXTURE_H

#include "facet/status.h"

void converter_create(void);
void converter_remove(void);

/* Path of a file in the test's directory; valid until the fourth call after. */
const char *converter_path(const char *name);

void converter_write(const char *name, const char *text);
void converter_write_bytes(const char *name, const void *bytes, size_t n_bytes);

/* "interactions" section of tab-separated log.tsv with columns user, item, time. */
#define CONVERTER_LOG "interactions: {file: log.tsv, user: user, item: item, time: time}\n"

/* Converts config.yaml to data set `output` with --set options from `sets` ("seed=2 negatives=3"). */
facet_status converter_run(const char *output, const char *sets);
/* The same with --vocabulary `earlier` and --freeze. */
facet_status converter_run_later(const char *output, const char *sets, const char *earlier, int freeze);
/* What the last conversion reported. */
extern char converter_report[8192];

/* The samples of a split in order, one a line, after every part has been verified:
 *   "u1 c=1 @30: a@10 b@20"   user u1, item c, label 1, time 30, and the events of the window, oldest first
 * The group follows the label ("a=1 #7"), context features the time (" hour=13"), an event's own fields its item
 * ("a/buy/0.5@10"); events of histories without times are items alone. With several parts "--" stands between them.
 * Free with free(). */
char *converter_samples(const char *output, const char *split);

/* A column of the attribute table: "a=Drama,Crime\n" for every id from 1 on. Free with free(). */
char *converter_column(const char *output, const char *feature);

/* Tokens of a vocabulary from id 2 on: "a b c". Free with free(). */
char *converter_tokens(const char *output, const char *vocabulary);

/* Names in the test's directory: "config.yaml log.tsv". Free with free(). */
char *converter_names(void);

/* Whether two data sets have the same files with the same bytes; names the first difference in the message. */
void converter_expect_same_bytes(const char *a, const char *b);

/* Asserts that an allocated text is as expected, and frees it. */
void converter_expect(char *text, const char *expected);

#endif
