/* AMX: eight tiles of at most 16 rows of 64 bytes. A tile of sums C [16][16 floats] += A B, where A is [16][pairs] and
 * B [pairs][16], of pairs of bf16; Intel SDM volume 1, chapter 18. Of the eight, 0 to 3 are sums, 4 and 5 hold A, 6 and 7
 * hold B. With FACET_AMX_EMULATED the same in plain C, for tests on CPUs without AMX. */
#ifndef FACET_CPU_BF16_AMX_H
#define FACET_CPU_BF16_AMX_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

enum { TILE_SIZE = 16, N_TILES = 8 };

/* The operand of ldtilecfg. */
typedef struct tile_shapes {
  uint8_t palette, start_row, reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
} __attribute__((aligned(64))) tile_shapes;
_Static_assert(sizeof(tile_shapes) == 64, "");

#define FOUR(x) x, x, x, x
static const tile_shapes all_full = {
    .palette = 1, .row_bytes = {FOUR(64), FOUR(64)}, .rows = {FOUR(TILE_SIZE), FOUR(TILE_SIZE)}};

#ifndef FACET_AMX_EMULATED

/* The intrinsics name no memory, so that the compiler could move stores past a load: hence the barrier. The number of a
 * tile must be a literal. */
#define TILES_BEGIN() __asm__ volatile("ldtilecfg %0" : : "m"(all_full))
#define TILES_END() _tile_release()
#define TILE_ZERO(tile) _tile_zero(tile)
#define TILE_LOAD(tile, from, step_bytes)                                                                              \
  do {                                                                                                                 \
    __asm__ volatile("" : : : "memory");                                                                               \
    _tile_loadd(tile, from, step_bytes);                                                                               \
  } while (0)
#define TILE_STORE(tile, to, step_bytes)                                                                               \
  do {                                                                                                                 \
    _tile_stored(tile, to, step_bytes);                                                                                \
    __asm__ volatile("" : : : "memory");                                                                               \
  } while (0)
#define TILE_MULTIPLY(sum, a, b) _tile_dpbf16ps(sum, a, b)

#else

static _Thread_local struct {
  tile_shapes shapes;
  uint32_t tile[N_TILES][TILE_SIZE][16];
} emulated;

static inline float half_of(uint32_t pair, int which) {
  const uint32_t bits = which ? pair & 0xffff0000u : pair << 16;
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

static inline void emulate_load(int tile, const void *from, int64_t step) {
  memset(emulated.tile[tile], 0, sizeof emulated.tile[tile]);
  for (int i = 0; i < emulated.shapes.rows[tile]; i++)
    memcpy(emulated.tile[tile][i], (const char *)from + i * step, emulated.shapes.row_bytes[tile]);
}

static inline void emulate_store(int tile, void *to, int64_t step) {
  for (int i = 0; i < emulated.shapes.rows[tile]; i++)
    memcpy((char *)to + i * step, emulated.tile[tile][i], emulated.shapes.row_bytes[tile]);
}

static inline void emulate_multiply(int sum, int a, int b) {
  for (int i = 0; i < TILE_SIZE; i++)
    for (int j = 0; j < TILE_SIZE; j++) {
      float total;
      memcpy(&total, &emulated.tile[sum][i][j], sizeof total);
      for (int k = 0; k < emulated.shapes.rows[b]; k++)
        for (int half = 0; half < 2; half++)
          total += half_of(emulated.tile[a][i][k], half) * half_of(emulated.tile[b][k][j], half);
      memcpy(&emulated.tile[sum][i][j], &total, sizeof total);
    }
}

#define TILES_BEGIN() (emulated.shapes = all_full)
#define TILES_END() (emulated.shapes = (tile_shapes){0})
#define TILE_ZERO(tile_) memset(emulated.tile[tile_], 0, sizeof emulated.tile[tile_])
#define TILE_LOAD(tile, from, step_bytes) emulate_load(tile, from, step_bytes)
#define TILE_STORE(tile, to, step_bytes) emulate_store(tile, to, step_bytes)
#define TILE_MULTIPLY(sum, a, b) emulate_multiply(sum, a, b)

#endif

/* sums [2 · 16][2 · 16] = A B: of A `m` tiles one below the other, a_step pairs from row to row; of B `n` tiles side by
 * side, b_step pairs from row to row; `steps` tiles deep. */
typedef struct tile_product {
  int m, n;
  int64_t steps, a_step, b_step;
  const uint32_t *a, *b;
} tile_product;

static inline void multiply_tiles(const tile_product *s, float sums[2 * TILE_SIZE][2 * TILE_SIZE]) {
  const uint32_t *a = s->a, *b = s->b;
  const int64_t a_bytes = 4 * s->a_step, b_bytes = 4 * s->b_step, step = (int64_t)sizeof *sums;
  TILE_ZERO(0);
  TILE_ZERO(1);
  TILE_ZERO(2);
  TILE_ZERO(3);
  for (int64_t k = 0; k < s->steps; k++, a += TILE_SIZE, b += TILE_SIZE * s->b_step) {
    TILE_LOAD(6, b, b_bytes);
    TILE_LOAD(4, a, a_bytes);
    TILE_MULTIPLY(0, 4, 6);
    if (s->n > 1) {
      TILE_LOAD(7, b + TILE_SIZE, b_bytes);
      TILE_MULTIPLY(1, 4, 7);
    }
    if (s->m == 1) continue;
    TILE_LOAD(5, a + TILE_SIZE * s->a_step, a_bytes);
    TILE_MULTIPLY(2, 5, 6);
    if (s->n > 1) TILE_MULTIPLY(3, 5, 7);
  }
  TILE_STORE(0, &sums[0][0], step);
  if (s->n > 1) TILE_STORE(1, &sums[0][TILE_SIZE], step);
  if (s->m > 1) TILE_STORE(2, &sums[TILE_SIZE][0], step);
  if (s->m > 1 && s->n > 1) TILE_STORE(3, &sums[TILE_SIZE][TILE_SIZE], step);
}

#endif
