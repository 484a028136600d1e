/* A data set split: its parts as one sequence of rows. See facet/dataset.h. */
#include "facet/dataset.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "data/tables.h"
#include "facet/file.h"
#include "facet/memory.h"

struct facet_dataset {
  char *path, *split;
  facet_schema *schema;
  facet_attribute *attributes; /* [n_features] */
  int n_parts;
  facet_shard **parts; /* [n_parts] */
  int64_t *first_row;  /* [n_parts + 1] of each part, then the number of rows */
};

facet_status facet_dataset_count_parts(const char *directory, int *n_parts) {
  facet_arena *arena = NULL;
  char **names;
  int64_t n_names;
  facet_status status;
  *n_parts = 0;
  FACET_CHECK(facet_directory_exists(directory), FACET_ERROR_DATA,
              "%s: there is no such directory, expected a split "
              "with part-00000.h5",
              directory);
  FACET_TRY(facet_arena_create(&arena));
  FACET_TRY_GOTO(status, done, facet_directory_list(directory, arena, &names, &n_names));
  for (int64_t i = 0; i < n_names; i++) {
    char expected[32];
    const size_t n = strlen(names[i]);
    if (strncmp(names[i], "part-", 5) || strcmp(names[i] + n - 3, ".h5")) continue;
    snprintf(expected, sizeof expected, "part-%05d.h5", *n_parts);
    if (strcmp(names[i], expected)) {
      status = facet_error_set(FACET_ERROR_DATA, __FILE__, __LINE__, "%s: found %s, expected %s", directory, names[i],
                               expected);
      goto done;
    }
    ++*n_parts;
  }
  if (*n_parts == 0)
    status = facet_error_set(FACET_ERROR_DATA, __FILE__, __LINE__, "%s: holds no part-00000.h5", directory);
done:
  facet_arena_destroy(&arena);
  return status;
}

static facet_status open_parts(facet_dataset *dataset) {
  char path[FACET_PATH_MAX];
  FACET_TRY(facet_path_format(path, "%s/%s", dataset->path, dataset->split));
  FACET_TRY(facet_dataset_count_parts(path, &dataset->n_parts));
  FACET_TRY(FACET_ALLOC(dataset->parts, dataset->n_parts, "parts of a data set"));
  FACET_TRY(FACET_ALLOC(dataset->first_row, dataset->n_parts + 1, "parts of a data set"));
  for (int p = 0; p < dataset->n_parts; p++) {
    FACET_TRY(facet_path_format(path, "%s/%s/part-%05d.h5", dataset->path, dataset->split, p));
    FACET_TRY(facet_shard_open(dataset->schema, path, &dataset->parts[p]));
    dataset->first_row[p + 1] = dataset->first_row[p] + facet_shard_n_samples(dataset->parts[p]);
  }
  FACET_CHECK(dataset->first_row[dataset->n_parts] > 0, FACET_ERROR_DATA, "%s/%s: the split holds no samples",
              dataset->path, dataset->split);
  return FACET_OK;
}

static facet_status open_tables(facet_dataset *dataset) {
  const facet_schema *schema = dataset->schema;
  char path[FACET_PATH_MAX];
  bool joins = false;
  for (int i = 0; i < schema->n_features; i++) joins |= schema->features[i].join >= 0;
  if (!joins) return FACET_OK;
  FACET_TRY(facet_path_format(path, "%s/tables.h5", dataset->path));
  return facet_tables_read(schema, path, dataset->attributes);
}

static facet_status open_dataset(facet_dataset *dataset, const char *path, const char *split) {
  char name[FACET_PATH_MAX];
  if (!(dataset->path = facet_memory_strdup(path))) return FACET_ERROR_INTERNAL;
  if (!(dataset->split = facet_memory_strdup(split))) return FACET_ERROR_INTERNAL;
  FACET_TRY(facet_path_format(name, "%s/schema.yaml", path));
  FACET_TRY(facet_schema_load(name, &dataset->schema));
  FACET_TRY(FACET_ALLOC(dataset->attributes, dataset->schema->n_features, "attribute tables"));
  FACET_TRY(open_tables(dataset));
  return open_parts(dataset);
}

facet_status facet_dataset_open(const char *path, const char *split, facet_dataset **out) {
  facet_dataset *dataset;
  *out = NULL;
  FACET_TRY(FACET_ALLOC(dataset, 1, "data set"));
  const facet_status status = open_dataset(dataset, path, split);
  if (status != FACET_OK) facet_dataset_close(&dataset);
  *out = dataset;
  return status;
}

void facet_dataset_close(facet_dataset **out) {
  facet_dataset *dataset = *out;
  if (!dataset) return;
  for (int p = 0; dataset->parts && p < dataset->n_parts; p++) facet_shard_close(&dataset->parts[p]);
  if (dataset->schema) facet_tables_free(dataset->schema, dataset->attributes);
  facet_memory_free(dataset->attributes);
  facet_memory_free(dataset->parts);
  facet_memory_free(dataset->first_row);
  facet_schema_destroy(&dataset->schema);
  facet_memory_free(dataset->path);
  facet_memory_free(dataset->split);
  facet_memory_free(dataset);
  *out = NULL;
}

const facet_schema *facet_dataset_schema(const facet_dataset *dataset) {
  return dataset->schema;
}
const char *facet_dataset_path(const facet_dataset *dataset) {
  return dataset->path;
}
const char *facet_dataset_split(const facet_dataset *dataset) {
  return dataset->split;
}
int64_t facet_dataset_n_samples(const facet_dataset *dataset) {
  return dataset->first_row[dataset->n_parts];
}
int facet_dataset_n_parts(const facet_dataset *dataset) {
  return dataset->n_parts;
}
facet_shard *facet_dataset_part(const facet_dataset *dataset, int part) {
  return dataset->parts[part];
}

int facet_dataset_locate(const facet_dataset *dataset, int64_t row, int64_t *row_in_part) {
  int low = 0, high = dataset->n_parts; /* first_row[low] ≤ row < first_row[high] */
  while (high - low > 1) {
    const int middle = low + (high - low) / 2;
    if (dataset->first_row[middle] <= row)
      low = middle;
    else
      high = middle;
  }
  *row_in_part = row - dataset->first_row[low];
  return low;
}

const facet_attribute *facet_dataset_attribute(const facet_dataset *dataset, int feature) {
  return dataset->schema->features[feature].join >= 0 ? &dataset->attributes[feature] : NULL;
}
