/* What tests/cpu/amx_emulated.c makes of bf16/lanes_amx.c. In float alone; needs AVX512-BF16. */
#ifndef FACET_TESTS_CPU_AMX_EMULATED_H
#define FACET_TESTS_CPU_AMX_EMULATED_H

#include "cpu/lanes.h"

void facet_lanes_begin_amx_emulated(void);
void facet_lanes_end_amx_emulated(void);
void facet_lanes_product_amx_emulated(const facet_lanes_product *product);
void facet_lanes_gradient_amx_emulated(int64_t m, int64_t n, int64_t columns, facet_lanes x, const float *packed,
                                       float *dw);

#endif
