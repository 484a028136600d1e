/* facet inspect: what a file or directory of facet holds, and whether it is sound. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "facet/arguments.h"
#include "facet/command.h"
#include "facet/file.h"
#include "train/inspect.h"

#define EXPECTED                                                                                                       \
  "expected a shard, tables.h5, a vocabulary file, or the directory of a data set, of a checkpoint or of a run"

typedef struct arguments {
  const char *path, *split;
  int64_t rows;
  bool verify;
} arguments;

static const facet_argument table[] = {{.name = "PATH",
                                        .type = FACET_ARGUMENT_TEXT,
                                        .offset = offsetof(arguments, path),
                                        .required = true,
                                        .help = "shard, tables.h5, vocabulary file, or directory of a data set, "
                                                "checkpoint or run"},
                                       {.name = "--verify",
                                        .type = FACET_ARGUMENT_FLAG,
                                        .offset = offsetof(arguments, verify),
                                        .help = "checks every value, token and checksum; the first fault is the error"},
                                       {.name = "--rows",
                                        .value = "N",
                                        .type = FACET_ARGUMENT_INT,
                                        .offset = offsetof(arguments, rows),
                                        .low = 1,
                                        .high = 1e19,
                                        .help = "prints the first N samples, attribute rows or tokens"},
                                       {.name = "--split",
                                        .value = "NAME",
                                        .type = FACET_ARGUMENT_TEXT,
                                        .offset = offsetof(arguments, split),
                                        .help = "of a data set: this split only (default: all, and rows of the first)"},
                                       {0}};

typedef struct kind {
  const char *name;   /* "a shard" */
  const char *format; /* attribute facet_format of the file; NULL: a directory */
  const char *member; /* what the directory holds */
  bool has_rows, has_splits;
  facet_status (*inspect)(const facet_inspect_request *request);
} kind;

/* model.h5 stands for the checkpoint that it is part of. */
static facet_status inspect_model_file(const facet_inspect_request *request) {
  char directory[FACET_PATH_MAX];
  FACET_TRY(inspect_directory_of(request->path, 0, directory));
  facet_inspect_request checkpoint = *request;
  checkpoint.path = directory;
  return facet_inspect_checkpoint(&checkpoint);
}

static const kind model_file = {"a checkpoint", "checkpoint", NULL, false, false, inspect_model_file};

/* The first that fits: a checkpoint holds a schema.yaml too. One whose writing was cut short has no manifest.json. */
static const kind kinds[] = {
    {"a shard", "shard", NULL, true, false, facet_inspect_shard},
    {"attribute tables", "tables", NULL, true, false, facet_inspect_tables},
    {"a vocabulary", "vocabulary", NULL, true, false, facet_inspect_vocabulary},
    {"a checkpoint", NULL, "manifest.json", false, false, facet_inspect_checkpoint},
    {"a checkpoint", NULL, "model.h5", false, false, facet_inspect_checkpoint},
    {"a run", NULL, "checkpoints", false, false, facet_inspect_run},
    {"a data set", NULL, "schema.yaml", true, true, facet_inspect_dataset},
};
enum { N_KINDS = sizeof kinds / sizeof *kinds };

static facet_status find_directory_kind(const char *path, const kind **out) {
  char member[FACET_PATH_MAX];
  for (int i = 0; i < N_KINDS; i++) {
    struct stat info;
    if (!kinds[i].member) continue;
    FACET_TRY(facet_path_format(member, "%s/%s", path, kinds[i].member));
    if (stat(member, &info) != 0) continue;
    *out = &kinds[i];
    return FACET_OK;
  }
  FACET_FAIL(FACET_ERROR_DATA, "%s: holds none of schema.yaml, manifest.json and checkpoints/, " EXPECTED, path);
}

static facet_status find_file_kind(const char *path, const kind **out) {
  char format[64] = "";
  hid_t file;
  facet_status status = facet_hdf5_open(path, &file);
  if (status == FACET_ERROR_DATA) facet_error_hint(EXPECTED);
  FACET_TRY(status);
  if (facet_hdf5_has_attribute(file, "facet_format"))
    status = facet_hdf5_get_string(file, "facet_format", format, sizeof format);
  facet_hdf5_discard(&file);
  FACET_TRY(status);
  if (strcmp(format, model_file.format) == 0) *out = &model_file;
  for (int i = 0; i < N_KINDS && !*out; i++)
    if (kinds[i].format && strcmp(kinds[i].format, format) == 0) *out = &kinds[i];
  FACET_CHECK(*out, FACET_ERROR_DATA, "%s: attribute facet_format is %s%s, " EXPECTED, path, format[0] ? "" : "missing",
              format);
  return FACET_OK;
}

/* model.h5 beside a manifest, which says better than the file itself whether it is damaged. */
static bool is_of_checkpoint(const char *path) {
  char manifest[FACET_PATH_MAX];
  const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
  return strcmp(name, "model.h5") == 0 &&
         facet_path_format(manifest, "%.*smanifest.json", (int)(name - path), path) == FACET_OK &&
         facet_file_exists(manifest);
}

static facet_status find_kind(const char *path, const kind **out) {
  struct stat info;
  *out = NULL;
  FACET_CHECK(stat(path, &info) == 0, FACET_ERROR_IO, "cannot open %s: %s", path, strerror(errno));
  if (S_ISDIR(info.st_mode)) return find_directory_kind(path, out);
  FACET_CHECK(S_ISREG(info.st_mode), FACET_ERROR_DATA, "%s: neither a file nor a directory, " EXPECTED, path);
  if (!is_of_checkpoint(path)) return find_file_kind(path, out);
  *out = &model_file;
  return FACET_OK;
}

static facet_status run(int argc, char **argv) {
  arguments given = {0};
  const kind *found;
  char path[FACET_PATH_MAX];
  FACET_TRY(facet_arguments_parse(table, argc, argv, &given));
  FACET_TRY(facet_path_format(path, "%s", given.path));
  for (size_t n = strlen(path); n > 1 && path[n - 1] == '/'; n--) path[n - 1] = 0;
  FACET_TRY(find_kind(path, &found));
  FACET_CHECK(!given.rows || found->has_rows, FACET_ERROR_USAGE, "--rows: %s is %s, which has no rows", path,
              found->name);
  FACET_CHECK(!given.split || found->has_splits, FACET_ERROR_USAGE, "--split: %s is %s, expected a data set", path,
              found->name);
  const facet_inspect_request request = {
      .path = path, .verify = given.verify, .n_rows = given.rows, .split = given.split, .out = stdout};
  return found->inspect(&request);
}

const facet_command facet_command_inspect = {
    .name = "inspect",
    .usage = "facet inspect PATH [--verify] [--rows N] [--split NAME]",
    .summary = "prints what a shard, vocabulary, data set, checkpoint or run holds, and verifies it",
    .help = "A shard, tables.h5 and a vocabulary file belong to the schema.yaml of their data set directory.\n"
            "With --verify, a fault ends the program with status 3 (data) or 4 (checkpoints and files).",
    .run = run,
    .arguments = table};
