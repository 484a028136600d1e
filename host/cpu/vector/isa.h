/* What the files of this folder, each compiled once per instruction set FACET_ISA, and those of cpu/bf16 share. */
#ifndef FACET_CPU_VECTOR_ISA_H
#define FACET_CPU_VECTOR_ISA_H

#include "facet/real.h"

#define PASTE_(a, b) a##b
#define PASTE(a, b) PASTE_(a, b)

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

#if defined __AVX512F__
enum { VECTOR_BYTES = 64 };
#elif defined __AVX2__
enum { VECTOR_BYTES = 32 };
#else
enum { VECTOR_BYTES = 16 };
#endif
/* May begin at any element. */
#define VECTOR(bytes) __attribute__((vector_size(bytes), aligned(sizeof(facet_real)), may_alias))
typedef facet_real wide VECTOR(VECTOR_BYTES);
enum { WIDE = sizeof(wide) / sizeof(facet_real) };

#endif
