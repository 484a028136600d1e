/* How libFuzzer changes inputs. HDF5 files keep their size, mostly: what points from one place of a file to another stays
 * meaningful, and the library does not stop at the first checksum. */
#include <string.h>

#include "fuzz.h"
#include "hdf5_file.h"

size_t LLVMFuzzerMutate(uint8_t *data, size_t n_bytes, size_t max_bytes);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n_bytes, size_t max_bytes, unsigned seed);

static uint64_t next_random(uint64_t *state) { /* xorshift64* */
  *state ^= *state >> 12;
  *state ^= *state << 25;
  *state ^= *state >> 27;
  return *state * UINT64_C(0x2545F4914F6CDD1D);
}

/* A place that holds something: padding is passed over, mostly. */
static size_t pick_place(const uint8_t *data, size_t n_bytes, uint64_t *state) {
  static const uint8_t zeros[8];
  size_t at = next_random(state) % n_bytes;
  for (int i = 0; i < 16; i++) {
    const size_t n = n_bytes - at < sizeof zeros ? n_bytes - at : sizeof zeros;
    if (memcmp(data + at, zeros, n) != 0) break;
    at = next_random(state) % n_bytes;
  }
  return at;
}

static void write_number(uint8_t *place, size_t n_bytes, uint64_t *state) {
  static const uint64_t values[] = {0,          1,          2,          3,          4,
                                    8,          16,         127,        128,        255,
                                    256,        1000,       32767,      65535,      0x7fffffff,
                                    0x80000000, 0xffffffff, 1ull << 40, 1ull << 60, 1ull << 62,
                                    1ull << 63, UINT64_MAX, INT64_MAX,  0x7f800000, 0x7ff0000000000000};
  uint64_t value;
  const uint64_t kind = next_random(state) % 4;
  size_t width = (size_t)1 << next_random(state) % 4;
  if (width > n_bytes) width = 1;
  memcpy(&value, place, width);
  if (kind == 0) value = next_random(state);
  if (kind == 1) value += next_random(state) % 9 - 4;
  if (kind == 2) value ^= UINT64_C(1) << next_random(state) % (8 * width);
  if (kind == 3) value = values[next_random(state) % (sizeof values / sizeof *values)];
  memcpy(place, &value, width);
}

static size_t mutate_hdf5(uint8_t *data, size_t n_bytes, size_t max_bytes, uint64_t *state) {
  const uint64_t kind = next_random(state) % 32;
  if (n_bytes < 64 || kind == 0) return LLVMFuzzerMutate(data, n_bytes, max_bytes);
  if (kind == 1) return n_bytes - 1 - next_random(state) % (n_bytes / 2);
  for (uint64_t i = 0, n = 1 + next_random(state) % 4; i < n; i++) {
    const size_t at = pick_place(data, n_bytes, state), rest = n_bytes - at;
    if (kind < 5) {
      const size_t length = 1 + next_random(state) % (rest < 16 ? rest : 16);
      memmove(data + at, data + pick_place(data, n_bytes - length + 1, state), length);
    } else {
      write_number(data + at, rest, state);
    }
  }
  if (kind != 31) fuzz_hdf5_seal(data, n_bytes);
  return n_bytes;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n_bytes, size_t max_bytes, unsigned seed) {
  uint64_t state = (seed + UINT64_C(1)) * UINT64_C(0x9E3779B97F4A7C15);
  if (fuzz.is_hdf5 && n_bytes >= 64 && data[0] == 0x89) return mutate_hdf5(data, n_bytes, max_bytes, &state);
  if (fuzz.max_bytes > 0 && fuzz.max_bytes < max_bytes) max_bytes = fuzz.max_bytes;
  return LLVMFuzzerMutate(data, n_bytes < max_bytes ? n_bytes : max_bytes, max_bytes);
}
