// Choice of the kernel for an instruction set: kvq::scalar::NAME (NAME.ref.cpp), kvq::avx2::NAME and kvq::avx512::NAME. The caller has checked kvq_isa_available.
// A macro, because the names of the last two exist on x86-64 only.
#pragma once

#include "kvquant/isa.h"

#if defined(__x86_64__)
#define KVQ_SELECT(isa, name) ((isa) == KVQ_ISA_AVX512 ? kvq::avx512::name : (isa) == KVQ_ISA_AVX2 ? kvq::avx2::name : kvq::scalar::name)
#else
#define KVQ_SELECT(isa, name) ((void)(isa), kvq::scalar::name)
#endif
