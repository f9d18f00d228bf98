#include "runtime/step.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "runtime/runtime-error.h"

namespace kvquant {

namespace {

// Rows that one task of an elementwise operation takes.
constexpr size_t kTaskRows = 8;
// Chunks of a product for each thread: enough to even out a slow thread.
constexpr size_t kChunksPerThread = 6;

bool fits_half(const float *x, size_t count) {
  bool fits = true;
  for (size_t index = 0; index < count; index++) fits &= std::fabs(x[index]) < kHalfLimit; // false for NaN
  return fits;
}

void log_softmax(float *row, size_t count) {
  float maximum = row[0];
  for (size_t index = 1; index < count; index++) maximum = std::max(maximum, row[index]);
  double total = 0;
  for (size_t index = 0; index < count; index++) total += std::exp(row[index] - maximum);
  const float shift = maximum + static_cast<float>(std::log(total));
  for (size_t index = 0; index < count; index++) row[index] -= shift;
}

}  // namespace

Step::Step(std::shared_ptr<const Model> model, std::shared_ptr<ThreadPool> pool)
    : model_(std::move(model)), shared_pool_(std::move(pool)), pool_(*shared_pool_), closer_(pool_), attention_(pool_), rotated_keys_(pool_.threads()) {
  kvq_activations *activations = nullptr;
  require(kvq_activations_create(model_->isa, &activations), "activations could not be allocated");
  activations_.reset(activations);
  for (AlignedBuffer<float> &keys : rotated_keys_) keys.reserve(model_->shape.key_columns());
}

template <class Task>
void Step::for_rows(size_t rows, const Task &task) {
  pool_.run((rows + kTaskRows - 1) / kTaskRows, [&](size_t index, unsigned worker) {
    for (size_t row = index * kTaskRows; row < std::min(rows, (index + 1) * kTaskRows); row++) task(row, worker);
  });
}

void Step::reserve(size_t rows) {
  const ModelShape &shape = model_->shape;
  x_.reserve(rows * shape.width);
  normed_.reserve(rows * shape.width);
  update_.reserve(rows * shape.width);
  projected_.reserve(rows * projection_columns());
  rotated_.reserve(rows * shape.query_columns());
  attended_.reserve(rows * shape.query_columns());
  gate_up_.reserve(rows * 2 * shape.feed_forward);
  activated_.reserve(rows * shape.feed_forward);
  cosine_.reserve(rows * shape.head_dim / 2);
  sine_.reserve(rows * shape.head_dim / 2);
}

void Step::begin(const float *x, size_t rows) {
  reserve(rows);
  rows_ = rows;
  std::copy_n(x, rows * model_->shape.width, x_.data());
}

void Step::run(const float *x, std::span<const StepSequence> sequences, const StepOutput &output) {
  size_t rows = 0;
  for (const StepSequence &sequence : sequences) rows += sequence.rows;
  begin(x, rows);
  const ModelShape &shape = model_->shape;
  const size_t pairs = shape.head_dim / 2;
  size_t row = 0;
  for (const StepSequence &sequence : sequences) {
    const uint64_t start = sequence.cache->length();
    for (size_t index = 0; index < sequence.rows; index++, row++) {
      kvq_rope_at(model_->rope.get(), static_cast<double>(start + index), cosine_.data() + row * pairs, sine_.data() + row * pairs);
    }
  }
  try {
    for (size_t layer = 0; layer < shape.layers; layer++) {
      if (cancelled_.load(std::memory_order_relaxed)) throw Cancelled();
      project_rows(layer);
      append(layer, sequences);
      attend(layer, sequences);
      feed_forward(layer);
    }
    if (output.hidden != nullptr || output.logits != nullptr) hidden(normed_.data());
    if (output.hidden != nullptr) std::copy_n(normed_.data(), rows * shape.width, output.hidden);
    if (output.logits != nullptr) {
      for (size_t index = 0; index < output.logit_rows.size(); index++) std::copy_n(normed_.data() + output.logit_rows[index] * shape.width, shape.width, update_.data() + index * shape.width);
      logits(update_.data(), output.logit_rows.size(), false, output.logits);
    }
    for (const StepSequence &sequence : sequences) sequence.cache->commit();
  } catch (...) {
    for (const StepSequence &sequence : sequences) sequence.cache->rollback();
    throw;
  }
}

void Step::multiply(const float *x, size_t rows, size_t cols, std::span<const Product> products) {
  require(kvq_activations_reserve(activations_.get(), rows, cols), "activations could not be allocated");
  kvq_activations_begin(activations_.get(), x, rows, cols, cols);
  pool_.run((rows + kTaskRows - 1) / kTaskRows, [&](size_t index, unsigned) { kvq_activations_fill(activations_.get(), index * kTaskRows, std::min(kTaskRows, rows - index * kTaskRows)); });
  size_t tiles = 0;
  for (const Product &product : products) tiles += kvq_matrix_tiles(product.matrix);
  const size_t chunks = pool_.threads() == 1 ? 1 : std::min(tiles, pool_.threads() * kChunksPerThread);
  pool_.run(chunks, [&](size_t chunk, unsigned) {
    size_t first = tiles * chunk / chunks;
    const size_t end = tiles * (chunk + 1) / chunks;
    size_t before = 0;
    for (const Product &product : products) {
      const size_t own = kvq_matrix_tiles(product.matrix);
      if (first < before + own && first < end) {
        const size_t last = std::min(end, before + own);
        kvq_matmul(product.matrix, activations_.get(), product.y, product.stride, first - before, last - first);
        first = last;
      }
      before += own;
    }
  });
}

void Step::project_rows(size_t layer) {
  const LayerWeights &weights = model_->layers[layer];
  const ModelShape &shape = model_->shape;
  const kvq_isa isa = model_->isa;
  for_rows(rows_, [&](size_t row, unsigned) {
    kvq_rms_norm(isa, x_.data() + row * shape.width, weights.attention_norm.data(), shape.norm_epsilon, 1, shape.width, shape.width, shape.width, normed_.data() + row * shape.width);
  });
  const size_t stride = projection_columns();
  const Product products[] = {{weights.query.get(), query_row(0), stride}, {weights.key.get(), key_row(0), stride}, {weights.value.get(), value_row(0), stride}};
  multiply(normed_.data(), rows_, shape.width, products);
  if (!shape.attention_bias && !shape.query_key_norm) return;
  for_rows(rows_, [&](size_t row, unsigned) {
    if (shape.attention_bias) {
      kvq_add_bias(isa, query_row(row), weights.query_bias.data(), 1, shape.query_columns(), 0);
      kvq_add_bias(isa, key_row(row), weights.key_bias.data(), 1, shape.key_columns(), 0);
      kvq_add_bias(isa, value_row(row), weights.value_bias.data(), 1, shape.key_columns(), 0);
    }
    if (shape.query_key_norm) {
      kvq_rms_norm(isa, query_row(row), weights.query_norm.data(), shape.norm_epsilon, shape.query_heads, shape.head_dim, shape.head_dim, shape.head_dim, query_row(row));
      kvq_rms_norm(isa, key_row(row), weights.key_norm.data(), shape.norm_epsilon, shape.kv_heads, shape.head_dim, shape.head_dim, shape.head_dim, key_row(row));
    }
  });
}

void Step::append(size_t layer, std::span<const StepSequence> sequences) {
  const ModelShape &shape = model_->shape;
  const size_t pairs = shape.head_dim / 2;
  const float query_gain = model_->rope->attention_factor * model_->rope->attention_factor;
  for (const StepSequence &sequence : sequences) sequence.cache->layer(layer).extend(sequence.rows);
  std::atomic<bool> fits{true};
  size_t first_row = 0;
  for (const StepSequence &sequence : sequences) {
    LayerCache &cache = sequence.cache->layer(layer);
    const uint64_t start = cache.pending_length() - sequence.rows;
    for_rows(sequence.rows, [&](size_t index, unsigned worker) {
      const size_t row = first_row + index;
      const float *cosine = cosine_.data() + row * pairs;
      const float *sine = sine_.data() + row * pairs;
      float *rotated = rotated_.data() + row * shape.query_columns();
      std::copy_n(query_row(row), shape.query_columns(), rotated);
      kvq_rope_apply(model_->rope.get(), cosine, sine, query_gain, rotated, shape.query_heads);
      float *rotated_key = rotated_keys_[worker].data();
      std::copy_n(key_row(row), shape.key_columns(), rotated_key);
      kvq_rope_apply(model_->rope.get(), cosine, sine, 1.0f, rotated_key, shape.kv_heads);
      // Rotation can lengthen a channel by sqrt(2) at most.
      if (!fits_half(key_row(row), shape.key_columns()) || !fits_half(rotated_key, shape.key_columns()) || !fits_half(value_row(row), shape.key_columns())) {
        fits.store(false, std::memory_order_relaxed);
        return;
      }
      cache.write(start + index, key_row(row), rotated_key, value_row(row));
    });
    first_row += sequence.rows;
  }
  if (!fits.load()) throw RuntimeError(KVQ_INVALID_ARGUMENT, "layer " + std::to_string(layer) + ": expected finite keys and values that fit fp16 (below 65520), got others; the model file may be damaged");
}

void Step::attend(size_t layer, std::span<const StepSequence> sequences) {
  std::vector<LayerOfSequence> layers;
  std::vector<AttentionRequest> requests;
  size_t row = 0;
  for (const StepSequence &sequence : sequences) {
    layers.push_back({sequence.cache, layer});
    requests.push_back({layers.back(), row, sequence.rows});
    row += sequence.rows;
  }
  closer_.close(model_->isa, layers);
  attention_.run(sequences.front().cache->rules(), requests, {projected_.data(), projection_columns(), rotated_.data(), attended_.data()});
}

void Step::feed_forward(size_t layer) {
  const LayerWeights &weights = model_->layers[layer];
  const ModelShape &shape = model_->shape;
  const kvq_isa isa = model_->isa;
  const Product output[] = {{weights.attention_output.get(), update_.data(), shape.width}};
  multiply(attended_.data(), rows_, shape.query_columns(), output);
  for_rows(rows_, [&](size_t row, unsigned) {
    float *x = x_.data() + row * shape.width;
    kvq_add(isa, x, update_.data() + row * shape.width, shape.width);
    kvq_rms_norm(isa, x, weights.ffn_norm.data(), shape.norm_epsilon, 1, shape.width, shape.width, shape.width, normed_.data() + row * shape.width);
  });
  const size_t stride = 2 * size_t{shape.feed_forward};
  const Product gated[] = {{weights.gate.get(), gate_up_.data(), stride}, {weights.up.get(), gate_up_.data() + shape.feed_forward, stride}};
  multiply(normed_.data(), rows_, shape.width, gated);
  for_rows(rows_, [&](size_t row, unsigned) { kvq_swiglu(isa, gate_up_.data() + row * stride, 1, shape.feed_forward, activated_.data() + row * shape.feed_forward); });
  const Product down[] = {{weights.down.get(), update_.data(), shape.width}};
  multiply(activated_.data(), rows_, shape.feed_forward, down);
  for_rows(rows_, [&](size_t row, unsigned) { kvq_add(isa, x_.data() + row * shape.width, update_.data() + row * shape.width, shape.width); });
}

void Step::project(size_t layer, float *query, float *key, float *value) {
  const ModelShape &shape = model_->shape;
  project_rows(layer);
  for (size_t row = 0; row < rows_; row++) {
    std::copy_n(query_row(row), shape.query_columns(), query + row * shape.query_columns());
    std::copy_n(key_row(row), shape.key_columns(), key + row * shape.key_columns());
    std::copy_n(value_row(row), shape.key_columns(), value + row * shape.key_columns());
  }
}

void Step::finish_layer(size_t layer, const float *attention) {
  std::copy_n(attention, rows_ * model_->shape.query_columns(), attended_.data());
  feed_forward(layer);
}

void Step::hidden(float *out) {
  const ModelShape &shape = model_->shape;
  for_rows(rows_, [&](size_t row, unsigned) {
    kvq_rms_norm(model_->isa, x_.data() + row * shape.width, model_->output_norm.data(), shape.norm_epsilon, 1, shape.width, shape.width, shape.width, out + row * shape.width);
  });
}

void Step::logits(const float *hidden, size_t rows, bool normalise, float *out) {
  const ModelShape &shape = model_->shape;
  const Product product[] = {{model_->head.get(), out, shape.vocabulary}};
  multiply(hidden, rows, shape.width, product);
  if (normalise) pool_.run(rows, [&](size_t row, unsigned) { log_softmax(out + row * shape.vocabulary, shape.vocabulary); });
}

size_t Step::working_bytes() const {
  return x_.bytes() + normed_.bytes() + projected_.bytes() + rotated_.bytes() + attended_.bytes() + update_.bytes() + gate_up_.bytes() + activated_.bytes();
}

}  // namespace kvquant
