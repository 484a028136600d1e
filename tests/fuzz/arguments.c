/* The arguments of a subcommand, separated by 0. */
#include <string.h>

#include "common/fuzz.h"
#include "facet/arguments.h"

typedef struct values {
  const char *config, *output;
  facet_argument_list sets, rest;
  int64_t rows;
  double rate;
  int device;
  bool verbose;
} values;

static const char *const devices[] = {"cpu", "cuda", NULL};
static const facet_argument table[] = {
    {.name = "CONFIG", .type = FACET_ARGUMENT_TEXT, .offset = offsetof(values, config), .required = true, .help = "a"},
    {.name = "FILES", .type = FACET_ARGUMENT_LIST, .offset = offsetof(values, rest), .help = "b"},
    {.name = "--output", .type = FACET_ARGUMENT_TEXT, .offset = offsetof(values, output), .help = "c"},
    {.name = "--set", .type = FACET_ARGUMENT_LIST, .offset = offsetof(values, sets), .help = "d"},
    {.name = "--rows",
     .type = FACET_ARGUMENT_INT,
     .offset = offsetof(values, rows),
     .low = 1,
     .high = 1e19,
     .help = "e"},
    {.name = "--rate",
     .type = FACET_ARGUMENT_DOUBLE,
     .offset = offsetof(values, rate),
     .low = 0,
     .high = 1,
     .help = "f"},
    {.name = "--device",
     .type = FACET_ARGUMENT_CHOICE,
     .offset = offsetof(values, device),
     .choices = devices,
     .help = "g"},
    {.name = "--verbose", .type = FACET_ARGUMENT_FLAG, .offset = offsetof(values, verbose), .help = "h"},
    {0}};

static void run(const uint8_t *data, size_t n_bytes) {
  values given = {0};
  char *argv[FUZZ_MAX_PARTS + 1] = {"facet"};
  fuzz_parts parts = fuzz_split(data, n_bytes, FUZZ_MAX_PARTS);
  for (int i = 0; i < parts.n; i++) argv[i + 1] = (char *)parts.part[i];
  if (fuzz_verdict(facet_arguments_parse(table, parts.n + 1, argv, &given))) {
    FUZZ_CHECK(given.config, "a required argument is missing");
    FUZZ_CHECK(given.rows >= 0 && given.rate >= 0 && given.rate <= 1, "a number is out of range");
    FUZZ_CHECK(given.device == 0 || given.device == 1, "a choice is none");
  }
  fuzz_parts_free(&parts);
}

static void seeds(fuzz_emit emit) {
  static const char all[] = "a.yaml\0--output\0dir\0--set=x.y=1\0--set\0z=2\0--rows=3\0--rate\0"
                            "0.5\0--device=cuda\0--verbose\0--\0--file";
  emit("all", all, sizeof all - 1);
  emit("wrong", "--row=1", 7);
}

const fuzz_target fuzz = {.run = run, .seeds = seeds};
