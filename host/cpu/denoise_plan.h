/* How the operator denoise (host/ops/denoise.c) cuts its work and lays out its memory.
 *
 * Units of FACET_LANES samples go through all steps, a few channels at a time (a block, cpu/denoise.h). A group of units
 * adds the gradients of the weights for itself, and the groups' sums are added in order: all of it follows from the
 * shapes. What a thread works with follows from the machine's processors. */
#ifndef FACET_CPU_DENOISE_PLAN_H
#define FACET_CPU_DENOISE_PLAN_H

#include "cpu/denoise.h"
#include "cpu/diffusion.h"

typedef struct facet_denoise_params {
  facet_denoiser_options denoiser;
  facet_diffusion_options diffusion; /* of a chain */
  facet_diffusion_parameter parameter;
  int64_t steps, gradient_steps; /* 0 in one call */
  size_t max_norm_bytes;         /* kept for backward (facet_denoise_kept); else it repeats the whole step */
  bool chain, noise;             /* else one call with levels given; a chain has z */
} facet_denoise_params;

enum { FACET_DENOISE_MAX_GROUPS = 32 };

/* What a thread works with, in scratch memory. */
typedef struct facet_denoise_worker {
  facet_denoise_block block;
  facet_lanes f, x, z;     /* [d][channels]; in backward the gradients of f and x */
  facet_denoise_kept kept; /* of a call without backward */
  facet_real *zeros;       /* [d] */
} facet_denoise_worker;

typedef struct facet_denoise_work {
  facet_denoise_size size;
  const facet_denoise_params *params;
  int64_t batch, n_units, n_groups, n_workers;
  int64_t channels, n_parts; /* of a block; blocks of a unit */
  int64_t max_levels;        /* rows of the time table */
  int64_t n_time_rows, n_slots, n_partial;
  int64_t kept_steps;
  size_t kept_bytes; /* of a block and step */
  bool bf16;         /* products of the blocks have factors in bf16; the time table has not */
  bool keep_norms;
  /* in scratch memory */
  facet_denoise_time time;
  facet_denoise_weights weights;
  facet_diffusion_step *step;              /* [steps] */
  int32_t *slot;                           /* [n_slots]: hash table of levels; 0: empty, else its row + 1 */
  int32_t *unit_level;                     /* one call: [batch, c]: row of the time table */
  facet_lanes step_tau;                    /* chain: [steps · DENOISE_N_TAU · d][1], the time table in all lanes */
  facet_real *d_time_rows;                 /* [n_time_rows, DENOISE_N_TAU, d] */
  facet_real *partial;                     /* [n_groups, n_partial]: gradients of the weights */
  int64_t partial_at[DENOISE_MAX_WEIGHTS]; /* −1: none */
  facet_denoise_worker worker[FACET_DENOISE_MAX_GROUPS];
} facet_denoise_work;

facet_denoise_size facet_denoise_size_make(const facet_denoise_params *params, const facet_shape *x);
/* Cuts the work for x [B, c, d]. */
void facet_denoise_work_make(const facet_denoise_params *params, const facet_shape *x, facet_denoise_work *work);
/* Places everything in scratch memory (NULL: only counts); returns the bytes. */
size_t facet_denoise_work_place(facet_denoise_work *work, char *memory);
/* After that, and with the weights' values set: the transposes, the time table and the workers' constant parts. level:
 * of one call, [samples, c], of which the first n_valid samples count; NULL in a chain. */
void facet_denoise_work_begin(facet_denoise_work *work, const int32_t *level, int64_t n_valid);

/* Numbers in which a group sums the gradient of weight k. */
int64_t facet_denoise_sum_numbers(const facet_denoise_size *size, int k);

#endif
