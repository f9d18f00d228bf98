// Which instruction sets this CPU has. Compiled without any of them.
#include "kvquant/isa.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace {

#if defined(__x86_64__)
// clang 14 does not know the name "f16c". Asked once: CPUID takes microseconds in a virtual machine.
bool has_f16c() {
  static const bool found = [] {
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
  }();
  return found;
}
#endif

bool has_avx2() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c() && __builtin_cpu_supports("bmi2");
#else
  return false;
#endif
}

bool has_avx512() {
#if defined(__x86_64__)
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vbmi2") && __builtin_cpu_supports("avx512vnni");
#else
  return false;
#endif
}

}  // namespace

int kvq_isa_available(kvq_isa isa) {
  switch (isa) {
    case KVQ_ISA_SCALAR: return 1;
    case KVQ_ISA_AVX2: return has_avx2();
    case KVQ_ISA_AVX512: return has_avx512();
    default: return 0;
  }
}

kvq_isa kvq_isa_best(void) { return has_avx512() ? KVQ_ISA_AVX512 : has_avx2() ? KVQ_ISA_AVX2 : KVQ_ISA_SCALAR; }

const char *kvq_isa_name(kvq_isa isa) {
  switch (isa) {
    case KVQ_ISA_SCALAR: return "scalar";
    case KVQ_ISA_AVX2: return "avx2";
    case KVQ_ISA_AVX512: return "avx512";
    default: return "unknown";
  }
}
