// AVX2 instance of attend-tile.simd.h.
#if defined(__x86_64__)
#include "ops/attend-tile/attend-tile.simd.h"

void kvq::avx2::attend_tile(const tile_call &call) { attend(call); }

void kvq::avx2::stage_exact(uint32_t head_dim, const uint16_t *key, const uint16_t *value, uint32_t tokens, float *keys, float *values) { stage(head_dim, key, value, tokens, keys, values); }
#endif
