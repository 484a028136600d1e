/* Selection of the k largest against sorting. */
#include "cpu/select.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include "facet/rng.h"

enum { N = 3000 };
static facet_key key[N], scratch[N];

/* Element i is among the k largest if fewer than k elements are larger or equal and before it. */
static void check_selection(const char *what, int64_t n, int64_t k) {
  facet_cut cut = facet_select_largest(n, key, k, scratch);
  for (int64_t i = 0; i < n; i++) {
    int64_t before = 0;
    for (int64_t u = 0; u < n; u++) before += key[u] > key[i] || (key[u] == key[i] && u < i);
    cr_assert_eq(facet_cut_holds(cut, key[i], i), before < k, "%s: n %lld, k %lld, element %lld", what, (long long)n,
                 (long long)k, (long long)i);
  }
}

/* Normal numbers, rounded to multiples of 1/grain. */
static void fill(int64_t n, double grain) {
  facet_rng_key random = facet_rng_key_make(5, "select");
  for (int64_t i = 0; i < n; i++) {
    double x = (double)facet_rng_normal(random, (uint64_t)i);
    key[i] = facet_key_of((facet_real)(grain > 0 ? round(x * grain) / grain : x));
  }
}

Test(select, largest_of_random_numbers) {
  static const int64_t sizes[] = {1, 2, 3, 17, 100, 513, 1024, 1025, N}, parts[] = {1, 2, 3, 10, 50};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
    for (size_t p = 0; p < sizeof parts / sizeof *parts; p++) {
      int64_t k = (sizes[i] + parts[p] - 1) / parts[p];
      fill(sizes[i], 0);
      check_selection("different", sizes[i], k);
      fill(sizes[i], 2);
      check_selection("with ties", sizes[i], k);
    }
}

Test(select, equal_numbers) {
  for (int64_t i = 0; i < 1500; i++) key[i] = facet_key_of((facet_real)0.5);
  check_selection("equal", 1500, 1);
  check_selection("equal", 1500, 700);
  check_selection("equal", 1500, 1500);
}

Test(select, keys_have_the_order_of_numbers) {
  const facet_real values[] = {(facet_real)-INFINITY,
                               (facet_real)-1e30,
                               -2,
                               -1,
                               (facet_real)-1e-40,
                               0,
                               (facet_real)1e-40,
                               1,
                               2,
                               (facet_real)1e30,
                               (facet_real)INFINITY,
                               (facet_real)NAN};
  cr_assert(facet_key_of(values[0]) > FACET_KEY_NONE);
  for (size_t i = 1; i < sizeof values / sizeof *values; i++)
    cr_assert(facet_key_of(values[i]) > facet_key_of(values[i - 1]), "value %d", (int)i);
  cr_assert_eq(facet_key_of((facet_real)-0.0), facet_key_of(0));
  cr_assert_eq(facet_key_of(-(facet_real)NAN), facet_key_of((facet_real)NAN));
}
