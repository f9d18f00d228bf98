// What kvq_rope_create adds behind the public tables.
#pragma once

#include "kvquant/rope.h"

namespace kvq {

struct rope_tables : kvq_rope {
  // Turns of half a position as a 64-bit fraction: frequency / (4 pi) * 2^64, modulo 2^64.
  // 2x times it wraps around exactly as the circle does, so the reduction of an angle is one integer product (angles.cpp).
  const uint64_t *half_step; /* [head_dim / 2] */
};

}  // namespace kvq
