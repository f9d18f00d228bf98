// Internal contract of decoding: kvq_decode_keys and kvq_decode_values, once for each instruction set.
#pragma once

#include "kvquant/codec.h"

#define KVQ_DECODE_FUNCTIONS                                                                                                                                  \
  void decode_keys(const kvq_key_plan &plan, const uint8_t *block, uint32_t tokens, const uint32_t *outlier_offsets, float *out, uint8_t *scratch);           \
  void decode_values(const kvq_value_plan &plan, const uint8_t *block, uint32_t tokens, const uint32_t *outlier_offsets, float *out, uint8_t *scratch);

namespace kvq::scalar {
KVQ_DECODE_FUNCTIONS
}
namespace kvq::avx2 {
KVQ_DECODE_FUNCTIONS
}
namespace kvq::avx512 {
KVQ_DECODE_FUNCTIONS
}
#undef KVQ_DECODE_FUNCTIONS
