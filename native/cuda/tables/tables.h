// Host side: fills the tables that kernels read. The caller uploads them. Plain C++; cuda/tables/tables.cpp holds the functions.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "kvquant/page.h"
#include "kvquant/rope.h"

// Angles within a page around its middle, in the order of the key kernels' fragments: head_dim / 2 * 64 numbers of 4 bytes (two fp16: cos, sin). One table a model.
inline size_t kvq_cuda_offset_angle_count(uint32_t head_dim) { return size_t{head_dim} / 2 * 64; }
void kvq_cuda_fill_offset_angles(const kvq_rope *rope, uint32_t *out);

// A row of query_angles (position = the query's) or page_angles (position = start of the page + 31.5): [head_dim / 2][2] cos, sin in fp32; rotary pairs times rope->attention_factor.
void kvq_cuda_fill_angles(const kvq_rope *rope, double position, float *out);

// Scales and zero points of a layer by code index, [kv_heads * head_dim] each.
void kvq_cuda_fill_key_scales(const kvq_key_plan *plan, float *scale, float *zero);
// 127 * level, rounded; false unless all levels have the form k / 127.
bool kvq_cuda_fill_levels(const float *levels, uint32_t bits, int8_t (&out)[32]);
