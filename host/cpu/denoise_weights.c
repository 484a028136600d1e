/* The denoiser's weights by number. */
#include <stdio.h>
#include <string.h>

#include "cpu/denoise.h"

enum { WIDTH_D = 1, WIDTH_4D, WIDTH_FFN, WIDTH_2 };

typedef struct weight_kind {
  const char *name;
  int rows, columns; /* WIDTH_…; rows 0: a vector */
  facet_init init;
} weight_kind;

#define MATRIX                                                                                                         \
  { FACET_INIT_GLOROT_UNIFORM, 0 }
#define ZERO                                                                                                           \
  { FACET_INIT_ZERO, 0 }
#define ONE                                                                                                            \
  { FACET_INIT_CONSTANT, 1 }

static const weight_kind shared_kinds[DENOISE_N_SHARED] = {
    [DENOISE_TIME_0_WEIGHT] = {"time.0.weight", WIDTH_D, WIDTH_4D, MATRIX},
    [DENOISE_TIME_0_BIAS] = {"time.0.bias", 0, WIDTH_4D, ZERO},
    [DENOISE_TIME_1_WEIGHT] = {"time.1.weight", WIDTH_4D, WIDTH_D, MATRIX},
    [DENOISE_TIME_1_BIAS] = {"time.1.bias", 0, WIDTH_D, ZERO},
    [DENOISE_FLAG] = {"flag", WIDTH_2, WIDTH_D, {FACET_INIT_NORMAL, 0.02}},
    [DENOISE_OUT_WEIGHT] = {"out.weight", WIDTH_D, WIDTH_D, MATRIX},
    [DENOISE_OUT_BIAS] = {"out.bias", 0, WIDTH_D, ZERO},
};

static const weight_kind layer_kinds[DENOISE_N_LAYER] = {
    [DENOISE_SELF_Q] = {"self.q.weight", WIDTH_D, WIDTH_D, MATRIX},
    [DENOISE_SELF_K] = {"self.k.weight", WIDTH_D, WIDTH_D, MATRIX},
    [DENOISE_SELF_V] = {"self.v.weight", WIDTH_D, WIDTH_D, MATRIX},
    [DENOISE_SELF_O] = {"self.o.weight", WIDTH_D, WIDTH_D, MATRIX},
    [DENOISE_CROSS_Q] = {"cross.q.weight", WIDTH_D, WIDTH_D, MATRIX},
    [DENOISE_CROSS_K] = {"cross.k.weight", WIDTH_D, WIDTH_D, MATRIX},
    [DENOISE_CROSS_V] = {"cross.v.weight", WIDTH_D, WIDTH_D, MATRIX},
    [DENOISE_CROSS_O] = {"cross.o.weight", WIDTH_D, WIDTH_D, MATRIX},
    [DENOISE_NORM_1_GAMMA] = {"norm1.gamma", 0, WIDTH_D, ONE},
    [DENOISE_NORM_1_BETA] = {"norm1.beta", 0, WIDTH_D, ZERO},
    [DENOISE_NORM_2_GAMMA] = {"norm2.gamma", 0, WIDTH_D, ONE},
    [DENOISE_NORM_2_BETA] = {"norm2.beta", 0, WIDTH_D, ZERO},
    [DENOISE_NORM_3_GAMMA] = {"norm3.gamma", 0, WIDTH_D, ONE},
    [DENOISE_NORM_3_BETA] = {"norm3.beta", 0, WIDTH_D, ZERO},
    [DENOISE_FFN_0_WEIGHT] = {"ffn.0.weight", WIDTH_D, WIDTH_FFN, MATRIX},
    [DENOISE_FFN_0_BIAS] = {"ffn.0.bias", 0, WIDTH_FFN, ZERO},
    [DENOISE_FFN_1_WEIGHT] = {"ffn.1.weight", WIDTH_FFN, WIDTH_D, MATRIX},
    [DENOISE_FFN_1_BIAS] = {"ffn.1.bias", 0, WIDTH_D, ZERO},
};

bool facet_denoise_describe(const facet_denoise_size *size, int k, facet_denoise_weight *weight) {
  bool shared = k < DENOISE_N_SHARED;
  int of_layer = (k - DENOISE_N_SHARED) % DENOISE_N_LAYER, layer = (k - DENOISE_N_SHARED) / DENOISE_N_LAYER;
  const weight_kind *kind = shared ? &shared_kinds[k] : &layer_kinds[of_layer];
  const int64_t width[] = {[WIDTH_D] = size->d, [WIDTH_4D] = 4 * size->d, [WIDTH_FFN] = size->width, [WIDTH_2] = 2};
  if (shared)
    snprintf(weight->name, sizeof weight->name, "%s", kind->name);
  else
    snprintf(weight->name, sizeof weight->name, "%d.%s", layer, kind->name);
  weight->shape = kind->rows ? facet_shape_make(2, width[kind->rows], width[kind->columns])
                             : facet_shape_make(1, width[kind->columns]);
  weight->init = kind->init;
  weight->decay = kind->init.kind == FACET_INIT_GLOROT_UNIFORM;
  if (k == DENOISE_FLAG) return size->flag;
  if (k == DENOISE_OUT_WEIGHT || k == DENOISE_OUT_BIAS) return size->projection;
  return true;
}

facet_denoise_sum facet_denoise_sum_of(const facet_denoise_size *size, int k) {
  facet_denoise_weight weight;
  if (k < DENOISE_FLAG || !facet_denoise_describe(size, k, &weight)) return DENOISE_SUM_NONE;
  if (k == DENOISE_FLAG || weight.shape.rank == 1) return DENOISE_SUM_LANES;
  if (k < DENOISE_N_SHARED) return DENOISE_SUM_MATRIX;
  switch ((k - DENOISE_N_SHARED) % DENOISE_N_LAYER) {
  case DENOISE_CROSS_Q:
  case DENOISE_CROSS_K:
    return DENOISE_SUM_NONE;
  case DENOISE_SELF_Q:
  case DENOISE_SELF_K:
  case DENOISE_SELF_V:
  case DENOISE_FFN_0_WEIGHT:
    return DENOISE_SUM_TRANSPOSE;
  default:
    return DENOISE_SUM_MATRIX;
  }
}

void *facet_denoise_place(facet_denoise_placer *placer, int64_t n, size_t element_bytes) {
  void *at = placer->memory ? placer->memory + placer->n_bytes : NULL;
  placer->n_bytes += ((size_t)n * element_bytes + 63) / 64 * 64;
  return at;
}

facet_lanes facet_denoise_place_lanes(facet_denoise_placer *placer, int64_t features, int64_t columns) {
  const int64_t stride = facet_lanes_stride(columns);
  return (facet_lanes){facet_denoise_place_real(placer, features * stride), stride};
}

void facet_denoise_rows(const facet_real *first, int64_t step, int64_t n, const facet_real *rest,
                        const facet_real *row[FACET_LANES]) {
  for (int64_t lane = 0; lane < FACET_LANES; lane++) row[lane] = lane < n ? first + lane * step : rest;
}
