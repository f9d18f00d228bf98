/* Rotary angles of a model. */
#ifndef KVQUANT_ROPE_H
#define KVQUANT_ROPE_H

#include <stddef.h>
#include <stdint.h>

#include "status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Angles of head_dim / 2 code pairs; pairs from rotary_dim / 2 on do not rotate (angle 0). Immutable once made; shared by all threads. */
typedef struct kvq_rope {
  uint32_t head_dim, rotary_dim;
  float attention_factor;  /* multiplies rotary channels of queries and keys after rotation; keys are stored without it, so queries take its square */
  const double *frequency; /* [head_dim / 2], radians a position, 0 for pairs that do not rotate */
  /* cos and sin of (l + 1/2) * frequency[p], l = 0 .. 31: the angles within a page around its middle. */
  const float *offset_cos, *offset_sin; /* [head_dim / 2][32] */
  const int16_t *offset_fixed;          /* [head_dim / 2][cos 32 | sin 32], rounded x 32767; 64-byte aligned; the 2 bytes behind the last may be read */
  const float *page_cos, *page_sin;     /* [head_dim / 2], of 64 * frequency */
} kvq_rope;

/* Copies `frequency` [rotary_dim / 2] and fills the tables. */
kvq_status kvq_rope_create(uint32_t head_dim, uint32_t rotary_dim, float attention_factor, const double *frequency, kvq_rope **out);
void kvq_rope_destroy(kvq_rope *rope);

/* fp32 cos and sin of x * frequency[p] for all head_dim / 2 pairs, reduced in fp64; x is a position or a difference of positions (halves included), |x| < 2^31. */
void kvq_rope_at(const kvq_rope *rope, double x, float *cosine, float *sine);

/* Rotates `heads` heads of one row [heads * head_dim] in place to the angles kvq_rope_at gave; half-split channels (p, p + rotary_dim / 2);
   rotary channels are multiplied by `gain` too. */
void kvq_rope_apply(const kvq_rope *rope, const float *cosine, const float *sine, float gain, float *row, uint32_t heads);

#ifdef __cplusplus
}
#endif
#endif
