// One step of a model over a mixed batch: prefill chunks and decode tokens of several sequences go through the dense products together and through attention each over its own cache.
// What a row becomes depends on its own sequence alone, bit for bit.
#pragma once
#include <atomic>
#include <span>
#include <stdexcept>
#include <vector>

#include "runtime/attend-layer.h"
#include "runtime/close-pages.h"
#include "runtime/model.h"
#include "runtime/thread-pool.h"

namespace kvquant {

// Consecutive rows of the batch that extend one sequence.
struct StepSequence {
  SequenceCache *cache;
  size_t rows;
};

struct StepOutput {
  float *hidden = nullptr;              // [rows, width] final normalised hidden states, or null
  std::span<const uint32_t> logit_rows; // rows whose logits are wanted
  float *logits = nullptr;              // [logit_rows, vocabulary]
};

class Step {
 public:
  Step(std::shared_ptr<const Model> model, std::shared_ptr<ThreadPool> pool);

  const Model &model() const { return *model_; }
  // Checked between layers.
  std::atomic<bool> &cancelled() { return cancelled_; }

  // x [rows, width]: embeddings of all rows. On any exception every cache is as it was.
  void run(const float *x, std::span<const StepSequence> sequences, const StepOutput &output);

  // ---- the same in parts, for caches that are not native ----
  void begin(const float *x, size_t rows);
  // Queries [rows, query heads * head dim], keys and values [rows, kv heads * head dim], before RoPE.
  void project(size_t layer, float *query, float *key, float *value);
  void finish_layer(size_t layer, const float *attention);
  void hidden(float *out);

  // Logits [rows, vocabulary] of hidden states [rows, width]; with `log_softmax`, their logarithms of probabilities.
  void logits(const float *hidden, size_t rows, bool log_softmax, float *out);

  // Rows of the current batch.
  size_t rows() const { return rows_; }
  size_t working_bytes() const;

 private:
  struct Product {
    const kvq_matrix *matrix;
    float *y;
    size_t stride;
  };

  void reserve(size_t rows);
  void multiply(const float *x, size_t rows, size_t cols, std::span<const Product> products);
  void project_rows(size_t layer);
  void append(size_t layer, std::span<const StepSequence> sequences);
  void attend(size_t layer, std::span<const StepSequence> sequences);
  void feed_forward(size_t layer);
  template <class Task>
  void for_rows(size_t rows, const Task &task);

  size_t projection_columns() const { return model_->shape.query_columns() + 2 * model_->shape.key_columns(); }
  float *query_row(size_t row) { return projected_.data() + row * projection_columns(); }
  float *key_row(size_t row) { return query_row(row) + model_->shape.query_columns(); }
  float *value_row(size_t row) { return key_row(row) + model_->shape.key_columns(); }

  std::shared_ptr<const Model> model_;
  std::shared_ptr<ThreadPool> shared_pool_;
  ThreadPool &pool_;
  PageCloser closer_;
  LayerAttention attention_;
  std::atomic<bool> cancelled_{false};
  size_t rows_ = 0;
  AlignedBuffer<float> x_, normed_, projected_, rotated_, attended_, update_, gate_up_, activated_, cosine_, sine_;
  std::vector<AlignedBuffer<float>> rotated_keys_; // of each worker
  struct ActivationsDeleter {
    void operator()(kvq_activations *activations) const { kvq_activations_destroy(activations); }
  };
  std::unique_ptr<kvq_activations, ActivationsDeleter> activations_;
};

}  // namespace kvquant
