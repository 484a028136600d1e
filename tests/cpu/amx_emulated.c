/* bf16/lanes_amx.c with tiles in plain C: its arithmetic is tested on CPUs without AMX. */
#ifndef FACET_DOUBLE
#define FACET_AMX_EMULATED
#define facet_lanes_product_amx facet_lanes_product_amx_emulated
#define facet_lanes_begin_amx facet_lanes_begin_amx_emulated
#define facet_lanes_end_amx facet_lanes_end_amx_emulated
#define facet_lanes_gradient_amx facet_lanes_gradient_amx_emulated
#include "amx_emulated.h"
#include "cpu/bf16/lanes_amx.c"
#endif
