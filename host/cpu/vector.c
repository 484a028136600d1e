/* Choice of the vector kernels at run time. */
#include "cpu/vector.h"

#include <cpuid.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "facet/environment.h"

extern const facet_vector facet_vector_portable, facet_vector_avx2, facet_vector_avx512;

static _Atomic(const facet_vector *) selected;

static bool cpu_has(const facet_vector *vector) {
  if (vector == &facet_vector_avx512)
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512cd");
  if (vector == &facet_vector_avx2) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  return true;
}

static const facet_vector *const all[] = {&facet_vector_avx512, &facet_vector_avx2, &facet_vector_portable};
enum { N_ALL = sizeof all / sizeof *all };

const facet_vector *facet_vector_find(const char *name) {
  for (int i = 0; i < N_ALL; i++)
    if (!strcmp(all[i]->name, name)) return cpu_has(all[i]) ? all[i] : NULL;
  return NULL;
}

static const facet_vector *best(void) {
  int i = 0;
  while (i < N_ALL - 1 && !cpu_has(all[i])) i++; /* portable, the last, is always there */
  return all[i];
}

facet_status facet_vector_select(void) {
  const char *isa = facet_environment_get()->isa;
  const facet_vector *vector = *isa ? facet_vector_find(isa) : best();
  FACET_CHECK(vector, FACET_ERROR_USAGE, "FACET_ISA=%s: this CPU lacks it; the best it has is \"%s\"", isa,
              best()->name);
  selected = vector;
  return FACET_OK;
}

const facet_vector *facet_vector_get(void) {
  const facet_vector *vector = selected;
  if (!vector) selected = vector = best();
  return vector;
}

static bool cpu_has_amx_bf16(void) {
  unsigned a, b, c, d;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && d & 1u << 22;
}

/* The system grants a process the tiles of AMX when it asks (Linux, Documentation/arch/x86/xstate.rst). */
static bool may_use_amx(void) {
  enum { UNKNOWN, NO, YES, REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };
  static atomic_int answer;
  if (answer == UNKNOWN)
    answer = cpu_has_amx_bf16() && !syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) ? YES : NO;
  return answer == YES;
}

const facet_lane_kernels *facet_vector_lanes(bool bf16) {
  const facet_vector *vector = facet_vector_get();
  if (!bf16 || !vector->lanes_bf16 || !__builtin_cpu_supports("avx512bf16")) return vector->lanes;
  if (may_use_amx()) return vector->lanes_amx;
  /* Intel's instruction is slower than the products in float32 that it stands for (docs/results/cpu.md). */
  return __builtin_cpu_is("intel") ? vector->lanes : vector->lanes_bf16;
}
