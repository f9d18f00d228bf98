#include "node/model.h"

#include "node/cache.h"
#include "node/isa-argument.h"
#include "node/promise-worker.h"
#include "node/rope-options.h"

namespace kvquant::node {

namespace {

struct MatrixSize {
  size_t rows, cols;
};

struct MatrixPart {
  const char *name;
  Matrix LayerWeights::*matrix;
  MatrixSize (*size)(const ModelShape &shape);
};
constexpr MatrixPart kMatrices[] = {{"query", &LayerWeights::query, [](const ModelShape &shape) -> MatrixSize { return {shape.query_columns(), shape.width}; }},
                                    {"key", &LayerWeights::key, [](const ModelShape &shape) -> MatrixSize { return {shape.key_columns(), shape.width}; }},
                                    {"value", &LayerWeights::value, [](const ModelShape &shape) -> MatrixSize { return {shape.key_columns(), shape.width}; }},
                                    {"attention_output", &LayerWeights::attention_output, [](const ModelShape &shape) -> MatrixSize { return {shape.width, shape.query_columns()}; }},
                                    {"gate", &LayerWeights::gate, [](const ModelShape &shape) -> MatrixSize { return {shape.feed_forward, shape.width}; }},
                                    {"up", &LayerWeights::up, [](const ModelShape &shape) -> MatrixSize { return {shape.feed_forward, shape.width}; }},
                                    {"down", &LayerWeights::down, [](const ModelShape &shape) -> MatrixSize { return {shape.width, shape.feed_forward}; }}};

struct VectorPart {
  const char *name;
  std::vector<float> LayerWeights::*vector;
};
constexpr VectorPart kVectors[] = {{"attention_norm", &LayerWeights::attention_norm}, {"ffn_norm", &LayerWeights::ffn_norm},     {"query_bias", &LayerWeights::query_bias}, {"key_bias", &LayerWeights::key_bias},
                                   {"value_bias", &LayerWeights::value_bias},         {"query_norm", &LayerWeights::query_norm}, {"key_norm", &LayerWeights::key_norm}};

void expect(bool condition, const std::string &message) {
  if (!condition) throw RuntimeError(KVQ_INVALID_ARGUMENT, message);
}

void check_matrix(const Matrix &matrix, const char *name, MatrixSize size) {
  expect(matrix != nullptr, std::string("model: expected a matrix ") + name);
  const kvq_matrix_shape found = kvq_matrix_shape_of(matrix.get());
  expect(found.rows == size.rows && found.cols == size.cols, std::string("model: expected a matrix ") + name + " of [" + std::to_string(size.rows) + ", " + std::to_string(size.cols) + "], got [" +
                                                                 std::to_string(found.rows) + ", " + std::to_string(found.cols) + "]");
}

// Throws unless every part is there and of its size: steps write as many numbers as the matrices have rows.
void check_complete(const Model &model) {
  const ModelShape &shape = model.shape;
  check_matrix(model.head, "output", {shape.vocabulary, shape.width});
  expect(model.output_norm.size() == shape.width, "model: expected an output norm of the width");
  for (const LayerWeights &layer : model.layers) {
    for (const MatrixPart &part : kMatrices) check_matrix(layer.*part.matrix, part.name, part.size(shape));
    expect(layer.attention_norm.size() == shape.width && layer.ffn_norm.size() == shape.width, "model: expected norms of the width");
    expect(layer.query_bias.size() == (shape.attention_bias ? shape.query_columns() : 0), "model: query bias of another length");
    expect(layer.key_bias.size() == (shape.attention_bias ? shape.key_columns() : 0), "model: key bias of another length");
    expect(layer.value_bias.size() == (shape.attention_bias ? shape.key_columns() : 0), "model: value bias of another length");
    expect(layer.query_norm.size() == (shape.query_key_norm ? shape.head_dim : 0) && layer.key_norm.size() == layer.query_norm.size(), "model: query and key norms of another length");
  }
}

}  // namespace

Napi::Function ModelObject::define(Napi::Env env) {
  return DefineClass(env, "Model",
                     {InstanceMethod<&ModelObject::create_matrix>("createMatrix"), InstanceMethod<&ModelObject::fill_matrix>("fillMatrix"), InstanceMethod<&ModelObject::set_vector>("setVector"),
                      InstanceMethod<&ModelObject::ready>("ready"), InstanceMethod<&ModelObject::step>("step"), InstanceMethod<&ModelObject::begin>("begin"), InstanceMethod<&ModelObject::project>("project"),
                      InstanceMethod<&ModelObject::finish_layer>("finishLayer"), InstanceMethod<&ModelObject::hidden>("hidden"), InstanceMethod<&ModelObject::logits>("logits"),
                      InstanceMethod<&ModelObject::cancel>("cancel"), InstanceMethod<&ModelObject::dispose>("dispose"), InstanceMethod<&ModelObject::info_object>("info")});
}

ModelObject::ModelObject(const Napi::CallbackInfo &info) : Napi::ObjectWrap<ModelObject>(info), shared_(std::make_shared<SharedModel>()) {
  const auto options = info[0].As<Napi::Object>();
  auto model = std::make_shared<Model>();
  model->isa = isa(options);
  model->shape = {integer(options, "layers"),      integer(options, "width"),      integer(options, "queryHeads"),  integer(options, "kvHeads"), integer(options, "headDim"),
                  integer(options, "feedForward"), integer(options, "vocabulary"), static_cast<float>(number(options, "normEpsilon")), flag(options, "attentionBias"), flag(options, "queryKeyNorm")};
  const ModelShape &shape = model->shape;
  for (const uint32_t size : {shape.layers, shape.width, shape.query_heads, shape.kv_heads, shape.head_dim, shape.feed_forward, shape.vocabulary}) {
    if (size == 0) reject(info.Env(), "model: expected sizes of at least 1");
  }
  if (shape.query_heads % shape.kv_heads != 0) reject(info.Env(), "queryHeads: expected whole groups of the KV heads");
  model->rope = read_rope(options, model->shape.head_dim);
  call(info.Env(), [&] { model->layers.resize(model->shape.layers); });
  shared_->model = std::move(model);
}

std::shared_ptr<SharedModel> ModelObject::acquire(Napi::Env env) {
  if (shared_->busy) reject(env, "model: expected no step running; await it first");
  if (shared_->step == nullptr) reject(env, "model: expected one that is ready");
  shared_->busy = true;
  return shared_;
}

// The model while its parts may change: steps read them without looking at their sizes again.
Model &ModelObject::unfinished(Napi::Env env) {
  if (shared_->step != nullptr) reject(env, "model: expected one that is not ready yet");
  return *shared_->model;
}

// The head for layer undefined.
Matrix &ModelObject::matrix(const Napi::Value &layer, const Napi::Value &part) {
  Model &model = unfinished(layer.Env());
  if (layer.IsUndefined()) return model.head;
  LayerWeights &weights = model.layers[integer(layer, "layer", model.layers.size() - 1)];
  const std::string name = part.ToString().Utf8Value();
  for (const MatrixPart &known : kMatrices) {
    if (name == known.name) return weights.*known.matrix;
  }
  reject(layer.Env(), "model: no matrix is called " + name);
}

// createMatrix(layer | undefined, part, type, rows, cols, exact)
void ModelObject::create_matrix(const Napi::CallbackInfo &info) {
  Matrix &place = matrix(info[0], info[1]);
  const auto type = static_cast<uint32_t>(integer(info[2], "type", 1000));
  const size_t rows = integer(info[3], "rows", 1u << 24);
  const size_t cols = integer(info[4], "cols", 1u << 24);
  const bool exact = info[5].ToBoolean();
  call(info.Env(), [&] {
    kvq_matrix *created = nullptr;
    const kvq_status status = kvq_matrix_create(shared_->model->isa, type, rows, cols, exact, &created);
    if (status == KVQ_UNSUPPORTED) throw RuntimeError(status, "no kernel multiplies tensor type " + std::to_string(type) + " of " + std::to_string(cols) + " columns");
    if (status == KVQ_OUT_OF_CAPACITY) throw std::bad_alloc();
    require(status, "the matrix could not be made");
    place.reset(created);
  });
}

// fillMatrix(layer | undefined, part, bytes, count, first, target Uint32Array | undefined)
void ModelObject::fill_matrix(const Napi::CallbackInfo &info) {
  Matrix &place = matrix(info[0], info[1]);
  if (place == nullptr) reject(info.Env(), "fillMatrix: expected createMatrix before");
  const Bytes source = byte_view(info[2], "bytes");
  const size_t count = integer(info[3], "count", 1u << 24);
  const size_t first = integer(info[4], "first", 1u << 24);
  const std::vector<uint32_t> target = copy_integers(info[5], "target");
  const size_t row_bytes = kvq_matrix_shape_of(place.get()).row_bytes;
  if (source.length < count * row_bytes || (!target.empty() && target.size() < count)) reject(info.Env(), "fillMatrix: expected bytes and targets of all rows");
  call(info.Env(), [&] { require(kvq_matrix_fill(place.get(), source.data, count, first, target.empty() ? nullptr : target.data()), "fillMatrix: a row lies outside the matrix"); });
}

// setVector(layer | undefined, part, Float32Array)
void ModelObject::set_vector(const Napi::CallbackInfo &info) {
  std::vector<float> values = copy_floats(info[2], "values");
  Model &model = unfinished(info.Env());
  if (info[0].IsUndefined()) {
    model.output_norm = std::move(values);
    return;
  }
  LayerWeights &weights = model.layers[integer(info[0], "layer", model.layers.size() - 1)];
  const std::string name = info[1].ToString().Utf8Value();
  for (const VectorPart &known : kVectors) {
    if (name != known.name) continue;
    weights.*known.vector = std::move(values);
    return;
  }
  reject(info.Env(), "model: no vector is called " + name);
}

// ready(threads Threads)
void ModelObject::ready(const Napi::CallbackInfo &info) {
  const auto threads = ThreadsObject::Unwrap(info[0].As<Napi::Object>())->shared();
  unfinished(info.Env());
  call(info.Env(), [&] {
    check_complete(*shared_->model);
    shared_->step = std::make_unique<Step>(shared_->model, threads->pool);
  });
}

// step({ x, caches, rows, hidden?, logitRows?, logits? }): promise
Napi::Value ModelObject::step(const Napi::CallbackInfo &info) {
  const Napi::Env env = info.Env();
  const auto options = info[0].As<Napi::Object>();
  const ModelShape &shape = shared_->model->shape;
  const auto caches = options.Get("caches").As<Napi::Array>();
  const std::vector<uint32_t> rows = copy_integers(options.Get("rows"), "rows");
  if (caches.Length() == 0 || rows.size() != caches.Length()) reject(env, "step: expected a number of rows for each cache, at least one cache");
  size_t total = 0;
  for (const uint32_t count : rows) {
    if (count == 0) reject(env, "step: expected at least one row a cache");
    total += count;
  }
  const float *x = floats(options.Get("x"), "x", total * shape.width);
  auto logit_rows = std::make_shared<std::vector<uint32_t>>(copy_integers(options.Get("logitRows"), "logitRows"));
  for (const uint32_t row : *logit_rows) {
    if (row >= total) reject(env, "logitRows: expected rows of the batch");
  }
  StepOutput output;
  if (!options.Get("hidden").IsUndefined()) output.hidden = floats(options.Get("hidden"), "hidden", total * shape.width);
  if (!logit_rows->empty()) output.logits = floats(options.Get("logits"), "logits", logit_rows->size() * shape.vocabulary);
  output.logit_rows = *logit_rows;

  if (shared_->busy) reject(env, "model: expected no step running; await it first");
  std::vector<std::shared_ptr<SharedCache>> held;
  auto release = [&held] {
    for (const auto &cache : held) cache->busy = false;
  };
  try {
    for (uint32_t index = 0; index < caches.Length(); index++) {
      held.push_back(CacheObject::Unwrap(caches.Get(index).As<Napi::Object>())->acquire(env));
      const CacheRules &rules = *held.back()->rules;
      if (rules.layers.size() != shape.layers || rules.query_heads != shape.query_heads || rules.kv_heads != shape.kv_heads || rules.head_dim != shape.head_dim || rules.isa != shared_->model->isa) {
        reject(env, "step: expected caches of this model's shape and instruction set");
      }
    }
    const auto shared = acquire(env);
    shared->step->cancelled().store(false);
    std::vector<StepSequence> sequences;
    for (size_t index = 0; index < held.size(); index++) sequences.push_back({held[index]->cache.get(), rows[index]});
    return PromiseWorker::start(
        env, {info.This().As<Napi::Object>(), options}, [shared, x, sequences, output, logit_rows] { shared->step->run(x, sequences, output); },
        [shared, held] {
          shared->busy = false;
          for (const auto &cache : held) cache->busy = false;
        });
  } catch (...) {
    release();
    throw;
  }
}

// begin(x, rows): promise. With project and finishLayer, a step in parts for caches that are not native.
Napi::Value ModelObject::begin(const Napi::CallbackInfo &info) {
  const size_t rows = integer(info[1], "rows", 1u << 24);
  const float *x = floats(info[0], "x", rows * shared_->model->shape.width);
  if (rows == 0) reject(info.Env(), "begin: expected at least one row");
  const auto shared = acquire(info.Env());
  shared->step->cancelled().store(false);
  return PromiseWorker::start(info.Env(), {info.This().As<Napi::Object>(), info[0].As<Napi::Object>()}, [shared, x, rows] { shared->step->begin(x, rows); }, [shared] { shared->busy = false; });
}

// project(layer, query, key, value): promise; rows as in begin
Napi::Value ModelObject::project(const Napi::CallbackInfo &info) {
  const ModelShape &shape = shared_->model->shape;
  const size_t layer = integer(info[0], "layer", shape.layers - 1);
  const size_t rows = shared_->step == nullptr ? 0 : shared_->step->rows();
  float *query = floats(info[1], "query", rows * shape.query_columns());
  float *key = floats(info[2], "key", rows * shape.key_columns());
  float *value = floats(info[3], "value", rows * shape.key_columns());
  const auto shared = acquire(info.Env());
  return PromiseWorker::start(info.Env(), {info.This().As<Napi::Object>(), info[1].As<Napi::Object>(), info[2].As<Napi::Object>(), info[3].As<Napi::Object>()},
                              [shared, layer, query, key, value] { shared->step->project(layer, query, key, value); }, [shared] { shared->busy = false; });
}

// finishLayer(layer, attention): promise
Napi::Value ModelObject::finish_layer(const Napi::CallbackInfo &info) {
  const ModelShape &shape = shared_->model->shape;
  const size_t layer = integer(info[0], "layer", shape.layers - 1);
  const size_t rows = shared_->step == nullptr ? 0 : shared_->step->rows();
  const float *attention = floats(info[1], "attention", rows * shape.query_columns());
  const auto shared = acquire(info.Env());
  return PromiseWorker::start(info.Env(), {info.This().As<Napi::Object>(), info[1].As<Napi::Object>()}, [shared, layer, attention] { shared->step->finish_layer(layer, attention); },
                              [shared] { shared->busy = false; });
}

// hidden(out): promise
Napi::Value ModelObject::hidden(const Napi::CallbackInfo &info) {
  const size_t rows = shared_->step == nullptr ? 0 : shared_->step->rows();
  float *out = floats(info[0], "hidden", rows * shared_->model->shape.width);
  const auto shared = acquire(info.Env());
  return PromiseWorker::start(info.Env(), {info.This().As<Napi::Object>(), info[0].As<Napi::Object>()}, [shared, out] { shared->step->hidden(out); }, [shared] { shared->busy = false; });
}

// logits(hidden, rows, logSoftmax, out): promise
Napi::Value ModelObject::logits(const Napi::CallbackInfo &info) {
  const ModelShape &shape = shared_->model->shape;
  const size_t rows = integer(info[1], "rows", 1u << 24);
  if (rows == 0) reject(info.Env(), "logits: expected at least one row");
  const float *hidden = floats(info[0], "hidden", rows * shape.width);
  const bool log_softmax = info[2].ToBoolean();
  float *out = floats(info[3], "out", rows * shape.vocabulary);
  const auto shared = acquire(info.Env());
  return PromiseWorker::start(info.Env(), {info.This().As<Napi::Object>(), info[0].As<Napi::Object>(), info[3].As<Napi::Object>()},
                              [shared, hidden, rows, log_softmax, out] { shared->step->logits(hidden, rows, log_softmax, out); }, [shared] { shared->busy = false; });
}

// cancel(): the running step stops before its next layer
void ModelObject::cancel(const Napi::CallbackInfo &) {
  if (shared_->step != nullptr) shared_->step->cancelled().store(true);
}

void ModelObject::dispose(const Napi::CallbackInfo &info) {
  if (shared_->busy) reject(info.Env(), "model: expected no step running; await it first");
  shared_->step.reset();
  shared_->model->layers.clear();
  shared_->model->layers.resize(shared_->model->shape.layers);
  shared_->model->head.reset();
}

// info(): { weightBytes, workingBytes, paths }
Napi::Value ModelObject::info_object(const Napi::CallbackInfo &info) {
  const Napi::Env env = info.Env();
  size_t bytes = 0;
  Napi::Object paths = Napi::Object::New(env);
  auto add = [&](const kvq_matrix *matrix) {
    if (matrix == nullptr) return;
    bytes += kvq_matrix_bytes(matrix);
    const char *path = kvq_matrix_path(matrix);
    paths.Set(path, Napi::Number::New(env, paths.Has(path) ? paths.Get(path).As<Napi::Number>().DoubleValue() + 1 : 1));
  };
  for (const LayerWeights &layer : shared_->model->layers) {
    for (const MatrixPart &part : kMatrices) add((layer.*part.matrix).get());
  }
  add(shared_->model->head.get());
  Napi::Object result = Napi::Object::New(env);
  result.Set("weightBytes", static_cast<double>(bytes));
  result.Set("workingBytes", static_cast<double>(shared_->step == nullptr ? 0 : shared_->step->working_bytes()));
  result.Set("paths", paths);
  return result;
}

}  // namespace kvquant::node
