/* Command-line arguments: every type, every error. */
#include "facet/arguments.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

typedef struct values {
  const char *input, *output;
  facet_argument_list rest, sets;
  bool verbose;
  int64_t events;
  double rate;
  int format;
} values;

static const char *const formats[] = {"h5", "csv", NULL};
static const facet_argument table[] = {
    {.name = "INPUT",
     .type = FACET_ARGUMENT_TEXT,
     .offset = offsetof(values, input),
     .required = true,
     .help = "input"},
    {.name = "FILE", .type = FACET_ARGUMENT_LIST, .offset = offsetof(values, rest), .help = "more files"},
    {.name = "--output",
     .value = "DIR",
     .type = FACET_ARGUMENT_TEXT,
     .offset = offsetof(values, output),
     .help = "out"},
    {.name = "--set", .type = FACET_ARGUMENT_LIST, .offset = offsetof(values, sets), .help = "sets"},
    {.name = "--verbose", .type = FACET_ARGUMENT_FLAG, .offset = offsetof(values, verbose), .help = "more output"},
    {.name = "--events",
     .type = FACET_ARGUMENT_INT,
     .offset = offsetof(values, events),
     .low = 1,
     .high = 1e8,
     .help = "n"},
    {.name = "--rate", .type = FACET_ARGUMENT_DOUBLE, .offset = offsetof(values, rate), .help = "rate"},
    {.name = "--format",
     .type = FACET_ARGUMENT_CHOICE,
     .offset = offsetof(values, format),
     .choices = formats,
     .help = "f"},
    {0}};

#define PARSE(v, ...)                                                                                                  \
  facet_arguments_parse(table, (int)(sizeof((char *[]){"command", __VA_ARGS__}) / sizeof(char *)),                     \
                        (char *[]){"command", __VA_ARGS__}, v)
#define REFUSED(text, ...)                                                                                             \
  do {                                                                                                                 \
    values v = {0};                                                                                                    \
    cr_assert(PARSE(&v, __VA_ARGS__) == FACET_ERROR_USAGE);                                                            \
    cr_assert_str_eq(facet_error_get()->message, text);                                                                \
  } while (0)

Test(arguments, every_type) {
  values v = {.events = 7, .rate = 0.5, .format = 0};
  cr_assert(PARSE(&v, "a", "--output", "dir", "--set=x=1", "b", "--set", "y=2", "--verbose", "--events=100", "--rate",
                  "-2.5", "--format", "csv", "--", "--c", "-") == FACET_OK,
            "%s", facet_error_get()->message);
  cr_assert_str_eq(v.input, "a");
  cr_assert_str_eq(v.output, "dir");
  cr_assert(v.sets.n == 2 && strcmp(v.sets.item[0], "x=1") == 0 && strcmp(v.sets.item[1], "y=2") == 0);
  cr_assert(v.rest.n == 3 && strcmp(v.rest.item[1], "--c") == 0 && strcmp(v.rest.item[2], "-") == 0);
  cr_assert(v.verbose && v.events == 100 && v.rate == -2.5 && v.format == 1);
}

Test(arguments, what_is_not_given_keeps_its_value) {
  values v = {.events = 7, .rate = 0.5, .format = 1};
  cr_assert(PARSE(&v, "a") == FACET_OK);
  cr_assert(v.events == 7 && v.rate == 0.5 && v.format == 1 && !v.output && !v.verbose && v.sets.n == 0);
}

Test(arguments, errors) {
  REFUSED("unknown argument \"--ouput\"; did you mean \"--output\"?", "a", "--ouput=3");
  REFUSED("unknown argument \"-x\"; known arguments: --output, --set, --verbose, --events, --rate, --format", "a",
          "-x");
  REFUSED("the argument INPUT is missing (input)", "--verbose");
  REFUSED("--output needs a value", "a", "--output");
  REFUSED("--output needs a value", "a", "--output", "--verbose");
  REFUSED("--output is given twice", "a", "--output=1", "--output=2");
  REFUSED("--verbose takes no value, but \"1\" was given", "a", "--verbose=1");
  REFUSED("--events is \"1e3\"; expected an integer from 1 to 100000000", "a", "--events", "1e3");
  REFUSED("--events is \"0\"; expected an integer from 1 to 100000000", "a", "--events", "0");
  REFUSED("--rate is \"fast\"; expected a number", "a", "--rate=fast");
  REFUSED("--format is \"cvs\"; expected one of h5, csv", "a", "--format", "cvs");
}

Test(arguments, a_positional_too_many) {
  static const facet_argument one[] = {
      {.name = "INPUT", .type = FACET_ARGUMENT_TEXT, .offset = offsetof(values, input), .help = "input"}, {0}};
  values v = {0};
  cr_assert(facet_arguments_parse(one, 3, (char *[]){"command", "a", "b"}, &v) == FACET_ERROR_USAGE);
  cr_assert_str_eq(facet_error_get()->message, "unexpected argument \"b\"");
}

Test(arguments, a_list_has_a_limit) {
  static char *argv[FACET_ARGUMENT_MAX_LIST + 3] = {"command", "a"};
  values v = {0};
  for (int i = 0; i <= FACET_ARGUMENT_MAX_LIST; i++) argv[i + 2] = "x";
  cr_assert(facet_arguments_parse(table, FACET_ARGUMENT_MAX_LIST + 3, argv, &v) == FACET_ERROR_USAGE);
  cr_assert(v.rest.n == FACET_ARGUMENT_MAX_LIST);
}

Test(arguments, help) {
  static char text[2048];
  FILE *stream = fmemopen(text, sizeof text, "w");
  facet_arguments_print_help(table, stream);
  fclose(stream);
  cr_assert(strstr(text, "  INPUT                      input (required)\n"), "%s", text);
  cr_assert(strstr(text, "  --output DIR               out\n"), "%s", text);
  cr_assert(strstr(text, "  --set TEXT…                sets\n"), "%s", text);
  cr_assert(strstr(text, "  --events N                 n (from 1 to 100000000)\n"), "%s", text);
  cr_assert(strstr(text, "  --format NAME              f (h5, csv)\n"), "%s", text);
}
