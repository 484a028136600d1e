/* The check of diffusion options that the operators denoise and diffuse share. */
#ifndef FACET_OPS_DIFFUSION_H
#define FACET_OPS_DIFFUSION_H

#include "facet/op.h"
#include "facet/ops.h"

/* For shape rules; the error names the node. */
static inline facet_status facet_diffusion_check(const facet_op_rule *rule, const facet_diffusion_options *options) {
  FACET_OP_CHECK(rule, options->levels >= 1 && options->levels <= FACET_DIFFUSION_MAX_LEVELS,
                 "%lld diffusion levels, expected 1 to %d", (long long)options->levels, FACET_DIFFUSION_MAX_LEVELS);
  FACET_OP_CHECK(rule, options->beta_first > 0 && options->beta_first <= options->beta_last && options->beta_last < 1,
                 "beta goes from %g to %g, expected 0 < first <= last < 1", options->beta_first, options->beta_last);
  return FACET_OK;
}

#endif
