/* Instruction sets with kernels, and which of them this CPU has. */
#ifndef KVQUANT_ISA_H
#define KVQUANT_ISA_H

#ifdef __cplusplus
extern "C" {
#endif

typedef enum kvq_isa {
  KVQ_ISA_SCALAR = 0, /* plain C++, every architecture */
  KVQ_ISA_AVX2 = 1,   /* AVX2, FMA, F16C */
  KVQ_ISA_AVX512 = 2, /* AVX-512 F, BW, CD, DQ, VL, VBMI, VBMI2, VNNI (Ice Lake, Zen 4 and later) */
  KVQ_ISA_COUNT = 3
} kvq_isa;

/* 1 when the kernels of `isa` were compiled in and both CPU and operating system support it. */
int kvq_isa_available(kvq_isa isa);

/* The highest available one. */
kvq_isa kvq_isa_best(void);

/* "scalar", "avx2", "avx512". */
const char *kvq_isa_name(kvq_isa isa);

#ifdef __cplusplus
}
#endif
#endif
