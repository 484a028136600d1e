#include <criterion/criterion.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "facet/table.h"
#include "operators.h"

static facet_parameters *make(bool with_others, uint64_t seed) {
  facet_parameters *p = NULL;
  facet_graph *g = NULL;
  EXPECT_OK(facet_parameters_create(&p));
  EXPECT_OK(facet_graph_create(FACET_PROGRAM_TRAIN, NULL, 4, 0, p, &g));
  if (with_others) {
    facet_graph_parameter(g, "other", facet_shape_make(1, (int64_t)7), (facet_init){FACET_INIT_CONSTANT, 2.5}, false);
    facet_graph_table(g, "others", 5, 3, (facet_init){FACET_INIT_NORMAL, 1});
  }
  facet_graph_parameter(g, "w", facet_shape_make(2, (int64_t)30, (int64_t)50),
                        (facet_init){FACET_INIT_GLOROT_UNIFORM, 0}, true);
  facet_graph_state(g, "mean", facet_shape_make(1, (int64_t)3), (facet_init){FACET_INIT_CONSTANT, 1});
  facet_graph_table(g, "items", 1001, 8, (facet_init){FACET_INIT_NORMAL, 0.01});
  EXPECT_OK(facet_graph_status(g));
  EXPECT_OK(facet_parameters_allocate(p, seed, true));
  facet_graph_destroy(&g);
  return p;
}

Test(parameters, element_depends_on_seed_name_and_index_only) {
  omp_set_num_threads(1);
  facet_parameters *a = make(false, 5);
  omp_set_num_threads(3);
  facet_parameters *b = make(true, 5), *c = make(false, 6);
  const facet_parameter_info *wa = facet_parameters_dense(a, 0), *wb = facet_parameters_dense(b, 1);
  cr_assert_str_eq(wb->name, "w");
  cr_assert_neq(wa->offset, wb->offset);
  const facet_real *va = facet_parameters_values(a) + wa->offset, *vb = facet_parameters_values(b) + wb->offset;
  cr_assert_eq(memcmp(va, vb, 1500 * sizeof *va), 0);
  cr_assert_neq(memcmp(va, facet_parameters_values(c), 1500 * sizeof *va), 0);
  facet_table *ta = facet_parameters_table(a, 0), *tb = facet_parameters_table(b, 1);
  cr_assert_eq(memcmp(facet_table_rows(ta), facet_table_rows(tb), 1001 * 8 * sizeof *va), 0);
  facet_parameters_destroy(&a);
  facet_parameters_destroy(&b);
  facet_parameters_destroy(&c);
}

Test(parameters, distributions_and_layout) {
  facet_parameters *p = make(true, 5);
  const facet_parameter_info *other = facet_parameters_dense(p, 0), *w = facet_parameters_dense(p, 1);
  cr_assert(!other->decay && w->decay);
  cr_assert_eq(other->offset, 0);
  cr_assert_eq(w->offset, 16, "padded to 16 elements");
  cr_assert_eq(facet_parameters_n_elements(p), 16 + 1504);
  const facet_real *values = facet_parameters_values(p);
  cr_assert_eq((uintptr_t)values % 64, 0);
  cr_assert_eq(values[6], (facet_real)2.5);
  cr_assert_eq(values[7], 0, "padding");
  double bound = sqrt(6.0 / 80), sum = 0, square = 0, largest = 0;
  for (int i = 0; i < 1500; i++) {
    double x = (double)values[16 + i];
    sum += x;
    square += x * x;
    largest = fmax(largest, fabs(x));
  }
  cr_assert(largest <= bound && largest > 0.98 * bound);
  cr_assert_lt(fabs(sum / 1500), 4 * bound / sqrt(3 * 1500.0));
  cr_assert_lt(fabs(square / 1500 / (bound * bound / 3) - 1), 0.1);
  cr_assert_eq(facet_parameters_state_values(p)[2], 1);
  const facet_real *rows = facet_table_rows(facet_parameters_table(p, 1));
  square = 0;
  for (int i = 0; i < 8; i++) cr_assert_eq(rows[i], 0, "row 0 is padding");
  for (int i = 8; i < 8008; i++) square += (double)rows[i] * (double)rows[i];
  cr_assert_lt(fabs(sqrt(square / 8000) / 0.01 - 1), 0.05);
  facet_parameters_destroy(&p);
}
