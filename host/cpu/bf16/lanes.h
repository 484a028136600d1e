/* The products of bf16/lanes.c and bf16/lanes_amx.c, which vector/lanes.c puts into its tables for AVX-512. In float
 * alone. */
#ifndef FACET_CPU_BF16_LANES_H
#define FACET_CPU_BF16_LANES_H

#include "cpu/lanes.h"

void facet_lanes_product_bf16(const facet_lanes_product *product);
void facet_lanes_round_bf16(int64_t rows, int64_t depth, const float *a, uint32_t *pairs);
void facet_lanes_pack_bf16(int64_t n, int64_t columns, facet_lanes y, float *packed);
void facet_lanes_gradient_bf16(int64_t m, int64_t n, int64_t columns, facet_lanes x, const float *packed, float *dw);

/* With AMX, which the process must have been granted (cpu/vector.c); rounded and packed alike. Between begin
 * and end the thread's tiles have the shape that products need: oneDNN gives them others. */
void facet_lanes_begin_amx(void);
void facet_lanes_end_amx(void);
void facet_lanes_product_amx(const facet_lanes_product *product);
void facet_lanes_gradient_amx(int64_t m, int64_t n, int64_t columns, facet_lanes x, const float *packed, float *dw);

#endif
