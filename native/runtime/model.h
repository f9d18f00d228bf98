// The packed weights of a decoder-only transformer with RMS norms, grouped-query attention and a SiLU-gated feed-forward. The packed matrices are the only copy.
#pragma once
#include <memory>
#include <vector>

#include "kvquant/dense.h"
#include "kvquant/rope.h"

namespace kvquant {

struct MatrixDeleter {
  void operator()(kvq_matrix *matrix) const { kvq_matrix_destroy(matrix); }
};
using Matrix = std::unique_ptr<kvq_matrix, MatrixDeleter>;

struct ModelShape {
  uint32_t layers, width, query_heads, kv_heads, head_dim, feed_forward, vocabulary;
  float norm_epsilon;
  bool attention_bias, query_key_norm;

  size_t query_columns() const { return size_t{query_heads} * head_dim; }
  size_t key_columns() const { return size_t{kv_heads} * head_dim; }
};

struct LayerWeights {
  std::vector<float> attention_norm, ffn_norm, query_bias, key_bias, value_bias, query_norm, key_norm;
  Matrix query, key, value, attention_output, gate, up, down;
};

struct Model {
  ModelShape shape;
  kvq_isa isa;
  std::shared_ptr<const kvq_rope> rope;
  std::vector<LayerWeights> layers;
  std::vector<float> output_norm;
  Matrix head;
};

}  // namespace kvquant
