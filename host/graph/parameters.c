/* Dense parameters, operator states and tables of a model: declared by its programs, allocated once. */
#include <math.h>
#include <string.h>

#include "facet/rng.h"
#include "graph/graph_internal.h"

enum { PAD = 16 }; /* elements: each parameter starts on a 64-byte line in the float build */

facet_status facet_parameters_create(facet_parameters **out) {
  facet_status status = FACET_OK;
  facet_parameters *parameters = NULL;
  FACET_TRY(FACET_ALLOC(parameters, 1, "parameters"));
  FACET_TRY_GOTO(status, fail, facet_arena_create(&parameters->arena));
  *out = parameters;
  return FACET_OK;
fail:
  facet_parameters_destroy(&parameters);
  return status;
}

void facet_parameters_destroy(facet_parameters **parameters) {
  facet_parameters *p = *parameters;
  if (!p) return;
  for (int i = 0; i < p->n_tables; i++) facet_table_destroy(&p->table[i].table);
  facet_memory_free(p->table);
  facet_memory_free(p->dense.item);
  facet_memory_free(p->states.item);
  facet_memory_free(p->values);
  facet_memory_free(p->gradients);
  facet_memory_free(p->state_values);
  facet_arena_destroy(&p->arena);
  facet_memory_free(p);
  *parameters = NULL;
}

/* ---- declaration ------------------------------------------------------------------------------------------------- */

static bool init_equal(facet_init a, facet_init b) {
  return a.kind == b.kind && a.value == b.value;
}

static facet_status check_not_allocated(const facet_parameters *parameters, const char *what, const char *name) {
  FACET_CHECK(!parameters->allocated, FACET_ERROR_USAGE,
              "%s \"%s\" is new in this program, but the parameters are allocated already: every parameter must be "
              "declared by a program that is built before",
              what, name);
  return FACET_OK;
}

static facet_status check_init(const char *what, const char *name, const facet_shape *shape, facet_init init) {
  char text[64];
  FACET_CHECK(init.kind != FACET_INIT_GLOROT_UNIFORM || shape->rank >= 2, FACET_ERROR_USAGE,
              "%s \"%s\" of shape %s cannot start from a Glorot distribution, which needs a matrix", what, name,
              facet_shape_format(shape, text, sizeof text));
  FACET_CHECK(isfinite(init.value), FACET_ERROR_USAGE, "%s \"%s\" starts from the value %g, expected a finite number",
              what, name, init.value);
  return FACET_OK;
}

/* Finds `name` in the list or appends it; a different shape or initial value is an error. */
static facet_status declare(facet_parameters *parameters, facet_parameter_list *list, const char *what,
                            const facet_parameter *wanted, int *index) {
  const char *name = wanted->info.name;
  for (int i = 0; i < list->n; i++) {
    const facet_parameter *have = &list->item[i];
    if (strcmp(have->info.name, name) != 0) continue;
    char old_text[64], new_text[64];
    FACET_CHECK(facet_shape_equal(&have->info.shape, &wanted->info.shape), FACET_ERROR_USAGE,
                "%s \"%s\" has shape %s here and shape %s elsewhere; a name stands for one %s", what, name,
                facet_shape_format(&wanted->info.shape, new_text, sizeof new_text),
                facet_shape_format(&have->info.shape, old_text, sizeof old_text), what);
    FACET_CHECK(init_equal(have->init, wanted->init) && have->info.decay == wanted->info.decay, FACET_ERROR_USAGE,
                "%s \"%s\" has another initial value or decay here than elsewhere", what, name);
    *index = i;
    return FACET_OK;
  }
  FACET_TRY(check_not_allocated(parameters, what, name));
  FACET_TRY(check_init(what, name, &wanted->info.shape, wanted->init));
  FACET_TRY(FACET_GROW(list->item, list->capacity, list->n + 1, "parameter list"));
  facet_parameter *item = &list->item[list->n];
  *item = *wanted;
  item->info.name = facet_arena_strdup(parameters->arena, name);
  if (!item->info.name) return FACET_ERROR_INTERNAL;
  item->info.offset = list->n_elements;
  int64_t n = facet_shape_elements(&wanted->info.shape);
  list->n_elements += (n + PAD - 1) / PAD * PAD;
  *index = list->n++;
  return FACET_OK;
}

facet_status facet_parameters_declare_dense(facet_parameters *parameters, const char *name, facet_shape shape,
                                            facet_init init, bool decay, int *index) {
  facet_parameter wanted = {.info = {.name = name, .shape = shape, .decay = decay}, .init = init};
  return declare(parameters, &parameters->dense, "parameter", &wanted, index);
}

facet_status facet_parameters_declare_state(facet_parameters *parameters, const char *name, facet_shape shape,
                                            facet_init init, int *index) {
  facet_parameter wanted = {.info = {.name = name, .shape = shape}, .init = init};
  return declare(parameters, &parameters->states, "state", &wanted, index);
}

facet_status facet_parameters_declare_table(facet_parameters *parameters, const char *name, int64_t n_rows,
                                            int64_t width, facet_init init, int *index) {
  for (int i = 0; i < parameters->n_tables; i++) {
    const facet_table_declaration *have = &parameters->table[i];
    if (strcmp(have->name, name) != 0) continue;
    FACET_CHECK(
        have->n_rows == n_rows && have->width == width, FACET_ERROR_USAGE,
        "table \"%s\" has shape [%lld, %lld] here and shape [%lld, %lld] elsewhere; a name stands for one table", name,
        (long long)n_rows, (long long)width, (long long)have->n_rows, (long long)have->width);
    FACET_CHECK(init_equal(have->init, init), FACET_ERROR_USAGE,
                "table \"%s\" has another initial value here than elsewhere", name);
    *index = i;
    return FACET_OK;
  }
  FACET_TRY(check_not_allocated(parameters, "table", name));
  facet_shape shape = facet_shape_make(2, n_rows, width);
  FACET_TRY(check_init("table", name, &shape, init));
  FACET_TRY(FACET_GROW(parameters->table, parameters->table_capacity, parameters->n_tables + 1, "table list"));
  facet_table_declaration *item = &parameters->table[parameters->n_tables];
  *item = (facet_table_declaration){.n_rows = n_rows, .width = width, .init = init};
  item->name = facet_arena_strdup(parameters->arena, name);
  if (!item->name) return FACET_ERROR_INTERNAL;
  *index = parameters->n_tables++;
  return FACET_OK;
}

/* ---- initial values ---------------------------------------------------------------------------------------------- */

/* Fills elements first … n − 1; element i depends on (key, i) only: word i mod 4 of Philox block i / 4. */
static void fill_random(facet_real *values, int64_t first, int64_t n, facet_rng_key key, bool normal, double scale) {
#pragma omp parallel for schedule(static)
  for (int64_t block = first / 4; block < (n + 3) / 4; block++) {
    uint64_t b = (uint64_t)block;
    facet_rng_counter counter = {{(uint32_t)b, (uint32_t)(b >> 32), 0, 0}};
    uint32_t word[4];
    float number[4];
    facet_rng_block(key, counter, word);
    if (normal) facet_rng_normals(word, number);
    for (int64_t k = 0; k < 4; k++) {
      int64_t i = block * 4 + k;
      if (i < first || i >= n) continue;
      double x = normal ? (double)number[k] : 2 * (double)facet_rng_uniform(word[k]) - 1;
      values[i] = (facet_real)(scale * x);
    }
  }
}

static void fill_initial(facet_real *values, int64_t first, const facet_shape *shape, facet_init init, uint64_t seed,
                         const char *name) {
  int64_t n = facet_shape_elements(shape);
  double fan_in = shape->rank >= 2 ? (double)shape->dim[shape->rank - 2] : 1;
  double fan_out = (double)facet_shape_last(shape);
  facet_rng_key key = facet_rng_key_make(seed, name);
  switch (init.kind) {
  case FACET_INIT_ZERO:
    break;
  case FACET_INIT_CONSTANT:
    for (int64_t i = first; i < n; i++) values[i] = (facet_real)init.value;
    break;
  case FACET_INIT_NORMAL:
    fill_random(values, first, n, key, true, init.value);
    break;
  case FACET_INIT_GLOROT_UNIFORM:
    fill_random(values, first, n, key, false, sqrt(6 / (fan_in + fan_out)));
    break;
  }
}

static void fill_list(const facet_parameter_list *list, uint64_t seed, facet_real *values) {
  for (int i = 0; i < list->n; i++) {
    const facet_parameter *item = &list->item[i];
    fill_initial(values + item->info.offset, 0, &item->info.shape, item->init, seed, item->info.name);
  }
}

facet_status facet_parameters_allocate(facet_parameters *parameters, uint64_t seed, bool with_gradients) {
  FACET_CHECK(!parameters->allocated, FACET_ERROR_INTERNAL, "the parameters are allocated already");
  parameters->allocated = true;
  FACET_TRY(FACET_ALLOC(parameters->values, parameters->dense.n_elements, "dense parameters"));
  FACET_TRY(FACET_ALLOC(parameters->state_values, parameters->states.n_elements, "operator states"));
  if (with_gradients) FACET_TRY(FACET_ALLOC(parameters->gradients, parameters->dense.n_elements, "dense gradients"));
  fill_list(&parameters->dense, seed, parameters->values);
  fill_list(&parameters->states, seed, parameters->state_values);
  for (int i = 0; i < parameters->n_tables; i++) {
    facet_table_declaration *item = &parameters->table[i];
    FACET_TRY(facet_table_create(item->name, item->n_rows, item->width, &item->table));
    facet_shape shape = facet_shape_make(2, item->n_rows, item->width);
    fill_initial(facet_table_rows(item->table), item->width, &shape, item->init, seed, item->name); /* row 0 stays 0 */
  }
  return FACET_OK;
}

/* ---- access ------------------------------------------------------------------------------------------------------ */

int facet_parameters_n_dense(const facet_parameters *parameters) {
  return parameters->dense.n;
}
const facet_parameter_info *facet_parameters_dense(const facet_parameters *parameters, int i) {
  return &parameters->dense.item[i].info;
}
int64_t facet_parameters_n_elements(const facet_parameters *parameters) {
  return parameters->dense.n_elements;
}
facet_real *facet_parameters_values(facet_parameters *parameters) {
  return parameters->values;
}
facet_real *facet_parameters_gradients(facet_parameters *parameters) {
  return parameters->gradients;
}

int facet_parameters_n_states(const facet_parameters *parameters) {
  return parameters->states.n;
}
const facet_parameter_info *facet_parameters_state(const facet_parameters *parameters, int i) {
  return &parameters->states.item[i].info;
}
facet_real *facet_parameters_state_values(facet_parameters *parameters) {
  return parameters->state_values;
}

int facet_parameters_n_tables(const facet_parameters *parameters) {
  return parameters->n_tables;
}
facet_table *facet_parameters_table(facet_parameters *parameters, int i) {
  return parameters->table[i].table;
}
