// Internal contract of encoding: kvq_encode_keys and kvq_encode_values for plans that encode.cpp has checked, once for each instruction set.
#pragma once

#include "kvquant/codec.h"

#define KVQ_ENCODE_FUNCTIONS                                                                                                                            \
  kvq_status encode_keys(const kvq_key_plan &plan, const float *x, uint32_t tokens, uint8_t *out, uint8_t *scratch, kvq_encoded &encoded);              \
  kvq_status encode_values(const kvq_value_plan &plan, const float *x, uint32_t tokens, uint8_t *out, uint8_t *scratch, kvq_encoded &encoded);

namespace kvq::scalar {
KVQ_ENCODE_FUNCTIONS
}
namespace kvq::avx2 {
KVQ_ENCODE_FUNCTIONS
}
namespace kvq::avx512 {
KVQ_ENCODE_FUNCTIONS
}
#undef KVQ_ENCODE_FUNCTIONS
