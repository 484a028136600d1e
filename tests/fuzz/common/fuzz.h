/* What the fuzz targets share (docs/fuzzing.md). A target is tests/fuzz/<name>.c: one reader of facet that is fed the bytes
 * of its input. It is built twice: with clang as a libFuzzer program (tools/fuzz.sh), and with every compiler as a plain
 * program that runs the seeds and the files of tests/fuzz/corpus/<name>/ once (CTest, sanitizers). */
#ifndef FACET_TESTS_FUZZ_H
#define FACET_TESTS_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "facet/file.h"
#include "facet/memory.h"
#include "facet/status.h"

/* ---- what a target defines --------------------------------------------------------------------------------------- */

/* Takes a seed: an input that the reader accepts, or nearly. */
typedef void (*fuzz_emit)(const char *name, const void *data, size_t n_bytes);

typedef struct fuzz_target {
  size_t max_bytes;    /* of an input made by the mutator; 0: what libFuzzer allows */
  bool is_hdf5;        /* inputs may be HDF5 files: mutated in place, with their checksums made right again */
  bool decodes_chunks; /* reads compressed columns, which facet decodes without the library */
  void (*begin)(void); /* once, before the first input; NULL: nothing to prepare */
  void (*run)(const uint8_t *data, size_t n_bytes);
  void (*end)(void); /* NULL: nothing to release */
  void (*seeds)(fuzz_emit emit);
} fuzz_target;
extern const fuzz_target fuzz;

/* ---- for its use ------------------------------------------------------------------------------------------------- */

/* "<private directory>/<name>" in one of four static buffers. The directory is removed when the program ends. */
const char *fuzz_path(const char *name);
void fuzz_write(const char *path, const void *data, size_t n_bytes);
/* The caller frees the bytes, which a 0 byte follows, with facet_memory_free. */
char *fuzz_read(const char *path, size_t *n_bytes);

/* A reader's verdict: accepted, or refused with one line that describes the error; memory and bugs apart no refusal is
 * FACET_ERROR_INTERNAL. Returns whether it was accepted. */
bool fuzz_verdict(facet_status status);
/* The first refusal of the present input; "" where there was none. */
const char *fuzz_refusal(void);
/* What must hold for every input: stops the program with the text and facet's present error. */
#define FUZZ_CHECK(condition, text) ((condition) ? (void)0 : fuzz_fail(__FILE__, __LINE__, (text)))
void fuzz_fail(const char *file, int line, const char *text);
/* A step of a target that cannot fail. */
#define FUZZ_MUST(expression) FUZZ_CHECK((expression) == FACET_OK, #expression)

/* Parts of an input that are separated by 0 bytes, each followed by one; the last part takes the rest. Every part is
 * there. */
#define FUZZ_MAX_PARTS 16
typedef struct fuzz_parts {
  char *text; /* owned */
  int n;      /* that the input has */
  const char *part[FUZZ_MAX_PARTS];
  size_t n_bytes[FUZZ_MAX_PARTS];
} fuzz_parts;
fuzz_parts fuzz_split(const uint8_t *data, size_t n_bytes, int max);
void fuzz_parts_free(fuzz_parts *parts);

#endif
