/* The plain program of a target: runs its seeds and every file of the directories given. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

static int n_inputs;

static void run_input(const char *name, const void *data, size_t n_bytes) {
  fprintf(stderr, "%s: ", name);                 /* before a crash */
  uint8_t *copy = malloc(n_bytes ? n_bytes : 1); /* of this size, so that a sanitizer sees what is read behind it */
  if (!copy) exit(1);
  memcpy(copy, data, n_bytes);
  LLVMFuzzerTestOneInput(copy, n_bytes);
  fprintf(stderr, "%s\n", fuzz_refusal()[0] ? fuzz_refusal() : "accepted");
  free(copy);
  n_inputs++;
}

static void run_directory(const char *path) {
  struct dirent **entries;
  const int n = scandir(path, &entries, NULL, alphasort);
  for (int i = 0; i < n; i++) {
    char file[FACET_PATH_MAX], *data;
    size_t n_bytes;
    if (entries[i]->d_name[0] != '.') {
      FUZZ_MUST(facet_path_format(file, "%s/%s", path, entries[i]->d_name));
      data = fuzz_read(file, &n_bytes);
      run_input(file, data, n_bytes);
      facet_memory_free(data);
    }
    free(entries[i]);
  }
  if (n >= 0) free(entries); /* a target need not have a corpus */
}

int main(int argc, char **argv) {
  LLVMFuzzerInitialize(&argc, &argv);
  fuzz.seeds(run_input);
  for (int i = 1; i < argc; i++) run_directory(argv[i]);
  const char *slash = strrchr(argv[0], '/');
  printf("%d inputs\nRESULT pass %s\n", n_inputs, slash ? slash + 1 : argv[0]);
  return 0;
}
