/* Lengths of histories that several operators take: int32 [B], how many of the L slots of a sample are events. */
#ifndef FACET_OPS_LENGTH_H
#define FACET_OPS_LENGTH_H

#include "facet/op.h"

/* For shape rules: input `length` has one number for each sample of input `events`, which the message calls `name`. */
static inline facet_status facet_length_check(const facet_op_rule *rule, int length, int events, const char *name) {
  const facet_shape *given = &rule->in_shape[length], *of = &rule->in_shape[events];
  char text[64], text_of[64];
  FACET_OP_CHECK(rule, given->rank == 1 && given->dim[0] == of->dim[0] && rule->in_dtype[length] == FACET_DTYPE_INT32,
                 "the length is %s, expected int32 [B] for %s %s", facet_shape_format(given, text, sizeof text), name,
                 facet_shape_format(of, text_of, sizeof text_of));
  return FACET_OK;
}

/* A number from a log as a number of slots. */
static inline int64_t facet_length_clamp(int64_t length, int64_t slots) {
  return length < 0 ? 0 : length < slots ? length : slots;
}

#endif
