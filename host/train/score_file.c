#include "train/score_file.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "data/hdf5.h"
#include "facet/file.h"

enum { ROW, LABEL, GROUP, LOGIT, PROBABILITY, N_COLUMNS };

static const struct {
  const char *name;
  facet_hdf5_type type;
} columns[N_COLUMNS] = {[ROW] = {"row", FACET_HDF5_INT64},
                        [LABEL] = {"label", FACET_HDF5_FLOAT},
                        [GROUP] = {"group", FACET_HDF5_INT64},
                        [LOGIT] = {"logit", FACET_HDF5_FLOAT},
                        [PROBABILITY] = {"probability", FACET_HDF5_FLOAT}};

struct facet_score_file {
  char path[FACET_PATH_MAX], temporary[FACET_PATH_MAX];
  double negative_sampling_rate;
  int64_t n, n_written;
  char separator;           /* of delimited text; 0: HDF5 */
  FILE *stream;             /* delimited text */
  hid_t hdf5;               /* HDF5, or −1 */
  hid_t dataset[N_COLUMNS]; /* or −1 */
  size_t capacity;          /* of `real` */
  float *real;              /* one column of a batch */
};

/* ---- opening ---------------------------------------------------------------------------------------------------- */

static facet_status open_text(facet_score_file *file) {
  file->stream = fopen(file->temporary, "w");
  FACET_CHECK(file->stream, FACET_ERROR_IO, "cannot write %s: %s", file->temporary, strerror(errno));
  for (int i = 0; i < N_COLUMNS; i++)
    fprintf(file->stream, "%s%c", columns[i].name, i + 1 < N_COLUMNS ? file->separator : '\n');
  return FACET_OK;
}

static facet_status open_hdf5(facet_score_file *file) {
  FACET_TRY(facet_hdf5_create(file->temporary, &file->hdf5));
  FACET_TRY(facet_hdf5_set_format(file->hdf5, "scores", 1));
  for (int i = 0; i < N_COLUMNS; i++)
    FACET_TRY(
        facet_hdf5_dataset_create(file->hdf5, columns[i].name, columns[i].type, 1, &file->n, 0, &file->dataset[i]));
  return FACET_OK;
}

facet_status facet_score_file_create(const char *path, int64_t n, double negative_sampling_rate,
                                     facet_score_file **out) {
  const char *dot = strrchr(path, '.');
  const bool hdf5 = dot && (strcmp(dot, ".h5") == 0 || strcmp(dot, ".hdf5") == 0);
  const bool tsv = dot && strcmp(dot, ".tsv") == 0, csv = dot && strcmp(dot, ".csv") == 0;
  facet_score_file *file;
  facet_status status = FACET_OK;
  FACET_CHECK(hdf5 || tsv || csv, FACET_ERROR_USAGE, "%s: expected a name that ends in .h5, .tsv or .csv", path);
  FACET_TRY(FACET_ALLOC(file, 1, "score file"));
  file->n = n;
  file->negative_sampling_rate = negative_sampling_rate;
  file->separator = tsv ? '\t' : csv ? ',' : '\0';
  file->hdf5 = -1;
  for (int i = 0; i < N_COLUMNS; i++) file->dataset[i] = -1;
  FACET_TRY_GOTO(status, fail, facet_path_format(file->path, "%s", path));
  FACET_TRY_GOTO(status, fail, facet_path_format(file->temporary, "%s.%ld.part", path, (long)getpid()));
  FACET_TRY_GOTO(status, fail, hdf5 ? open_hdf5(file) : open_text(file));
  *out = file;
  return FACET_OK;
fail:
  facet_score_file_destroy(&file);
  return status;
}

/* ---- appending -------------------------------------------------------------------------------------------------- */

/* In float32, so that both formats hold the same number. */
static float probability(const facet_score_file *file, double logit) {
  double p = 1 / (1 + exp(-logit)), rate = file->negative_sampling_rate;
  return (float)(rate == 1 ? p : p / (p + (1 - p) / rate));
}

static facet_status append_text(facet_score_file *file, const facet_batch *batch, const facet_real *logit) {
  const char s = file->separator;
  for (int64_t i = 0; i < batch->n_rows; i++)
    fprintf(file->stream, "%lld%c%g%c%lld%c%.9g%c%.9g\n", (long long)batch->row[i], s, (double)batch->label[i], s,
            (long long)batch->group[i], s, (double)logit[i], s, (double)probability(file, (double)logit[i]));
  FACET_CHECK(!ferror(file->stream), FACET_ERROR_IO, "cannot write %s: %s", file->temporary, strerror(errno));
  return FACET_OK;
}

static facet_status append_hdf5(facet_score_file *file, const facet_batch *batch, const facet_real *logit) {
  const int64_t n = batch->n_rows;
  FACET_TRY(FACET_GROW(file->real, file->capacity, n, "scores of a batch"));
  for (int column = 0; column < N_COLUMNS; column++) {
    const int64_t *integers = column == ROW ? batch->row : column == GROUP ? batch->group : NULL;
    const void *data = integers ? (const void *)integers : file->real;
    for (int64_t i = 0; !integers && i < n; i++)
      file->real[i] = (float)(column == LABEL         ? (double)batch->label[i]
                              : column == PROBABILITY ? (double)probability(file, (double)logit[i])
                                                      : (double)logit[i]);
    FACET_TRY(facet_hdf5_dataset_write(file->dataset[column], columns[column].type, file->n_written, n, data));
  }
  return FACET_OK;
}

facet_status facet_score_file_append(void *context, const facet_batch *batch, const facet_real *logit) {
  facet_score_file *file = context;
  FACET_TRY(file->separator ? append_text(file, batch, logit) : append_hdf5(file, batch, logit));
  file->n_written += batch->n_rows;
  return FACET_OK;
}

/* ---- closing ---------------------------------------------------------------------------------------------------- */

facet_status facet_score_file_finish(facet_score_file *file) {
  FACET_CHECK(file->n_written == file->n, FACET_ERROR_INTERNAL, "%s: %lld of %lld scores were written", file->path,
              (long long)file->n_written, (long long)file->n);
  if (file->separator) FACET_TRY(facet_stream_close(&file->stream, file->temporary));
  for (int i = 0; i < N_COLUMNS; i++) facet_hdf5_release(&file->dataset[i]);
  FACET_TRY(facet_hdf5_close(&file->hdf5));
  FACET_TRY(facet_hdf5_publish(file->temporary, file->path));
  file->temporary[0] = '\0';
  return FACET_OK;
}

void facet_score_file_destroy(facet_score_file **file) {
  facet_score_file *f = *file;
  if (!f) return;
  for (int i = 0; i < N_COLUMNS; i++) facet_hdf5_release(&f->dataset[i]);
  if (f->stream) fclose(f->stream);
  if (f->temporary[0]) facet_hdf5_abandon(&f->hdf5, f->temporary); /* without an error that would hide the first one */
  facet_memory_free(f->real);
  facet_memory_free(f);
  *file = NULL;
}
