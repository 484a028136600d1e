#include "data/dataset_writer.h"

#include <stdio.h>

#include "facet/file.h"
#include "facet/vocabulary.h"

const char *const split_names[N_SPLITS] = {"train", "valid", "test"};

facet_status split_open_part(split_writer *writer, int split, const facet_schema *schema, const char *directory,
                             bool compress) {
  char path[FACET_PATH_MAX];
  const facet_shard_layout layout = {.compress = compress};
  if (writer->part) return FACET_OK;
  FACET_CHECK(writer->n_parts < SPLIT_MAX_PARTS, FACET_ERROR_USAGE,
              "split %s has more than %d parts; expected a larger part_samples", split_names[split], SPLIT_MAX_PARTS);
  FACET_TRY(
      facet_path_format(path, "%s/%s/part-%05lld.h5", directory, split_names[split], (long long)writer->n_parts++));
  return facet_shard_writer_create(schema, path, layout, &writer->part);
}

facet_status split_close_part(split_writer *writer) {
  if (!writer->part) return FACET_OK;
  FACET_TRY(facet_shard_writer_finish(writer->part));
  facet_shard_writer_destroy(&writer->part);
  writer->n_samples_total += writer->n_samples;
  writer->n_events_total += writer->n_events;
  writer->n_samples = writer->n_events = 0;
  return FACET_OK;
}

facet_status dataset_create_directories(const char *directory) {
  char path[FACET_PATH_MAX];
  for (int split = 0; split <= N_SPLITS; split++) {
    FACET_TRY(facet_path_format(path, "%s/%s", directory, split < N_SPLITS ? split_names[split] : "vocab"));
    FACET_TRY(facet_directory_create(path));
  }
  return FACET_OK;
}

facet_status dataset_save_numbers(const char *directory, const char *name, const char *prefix, int64_t first,
                                  int64_t n) {
  facet_vocabulary *vocabulary;
  char token[64], path[FACET_PATH_MAX];
  FACET_TRY(facet_vocabulary_create(name, &vocabulary));
  facet_status status = facet_path_format(path, "%s/vocab/%s.h5", directory, name);
  for (int64_t i = 0, id; status == FACET_OK && i < n; i++) {
    const int length = snprintf(token, sizeof token, "%s%lld", prefix, (long long)(first + i));
    status = facet_vocabulary_add(vocabulary, token, (size_t)length, &id);
  }
  if (status == FACET_OK) status = facet_vocabulary_save(vocabulary, path);
  facet_vocabulary_destroy(&vocabulary);
  return status;
}
