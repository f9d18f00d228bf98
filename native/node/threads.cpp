#include "node/threads.h"

#include <algorithm>
#include <chrono>
#include <limits>

#include "kvquant/attention.h"
#include "node/isa-argument.h"
#include "node/promise-worker.h"

namespace kvquant::node {

namespace {

constexpr float kLog2E = 1.4426950408889634f;
// Query rows of a task.
constexpr size_t kTaskRows = 192;

struct TileCall {
  kvq_isa isa;
  const float *q, *k, *v;
  float *out;
  size_t group, queries, keys;
  uint32_t head_dim;
  float scale;
};

struct TileWorker {
  AlignedBuffer<float> queries, keys, values, state;
  AlignedBuffer<uint8_t> seen, scratch;
};

// Rows first .. first+count-1 of q [group * queries, head_dim], row g * queries + i being query i.
void attend_rows(const TileCall &call, size_t first, size_t count, TileWorker &worker) {
  const uint32_t head_dim = call.head_dim;
  float *queries = worker.queries.data();
  for (size_t index = 0; index < count * head_dim; index++) queries[index] = call.q[first * head_dim + index] * (call.scale * kLog2E);
  float *memory = worker.state.data();
  const kvq_rows_state state = {memory + count * head_dim, memory + count * (head_dim + 1), memory};
  std::fill_n(state.sum, count * head_dim, 0.0f);
  std::fill_n(state.maximum, count, -std::numeric_limits<float>::infinity());
  std::fill_n(state.total, count, 0.0f);
  uint8_t *seen = worker.seen.data();
  for (size_t start = 0; start < call.keys; start += KVQ_PAGE_TOKENS) {
    const size_t tokens = std::min<size_t>(KVQ_PAGE_TOKENS, call.keys - start);
    bool any = false;
    for (size_t row = 0; row < count; row++) {
      const size_t last_key = call.keys - call.queries + (first + row) % call.queries;
      seen[row] = last_key < start ? 0 : static_cast<uint8_t>(std::min(tokens, last_key - start + 1));
      any |= seen[row] > 0;
    }
    if (!any) continue;
    float *keys = worker.keys.data();
    for (uint32_t channel = 0; channel < head_dim; channel++) {
      for (size_t token = 0; token < KVQ_PAGE_TOKENS; token++) keys[channel * KVQ_PAGE_TOKENS + token] = token < tokens ? call.k[(start + token) * head_dim + channel] : 0.0f;
    }
    std::copy_n(call.v + start * head_dim, tokens * head_dim, worker.values.data());
    std::fill(worker.values.data() + tokens * head_dim, worker.values.data() + size_t{KVQ_PAGE_TOKENS} * head_dim, 0.0f);
    kvq_attend_tile(call.isa, head_dim, queries, static_cast<uint32_t>(count), keys, worker.values.data(), seen, state, worker.scratch.data());
  }
  kvq_finish_rows(head_dim, static_cast<uint32_t>(count), state, call.out + first * head_dim);
}

void attend(SharedThreads &threads, const TileCall &call) {
  const std::lock_guard<std::mutex> lock(threads.mutex);
  const size_t rows = call.group * call.queries;
  const size_t tile = size_t{call.head_dim} * KVQ_PAGE_TOKENS;
  std::vector<TileWorker> workers(threads.pool->threads());
  for (TileWorker &worker : workers) {
    worker.queries.reserve(kTaskRows * call.head_dim);
    worker.keys.reserve(tile);
    worker.values.reserve(tile);
    worker.state.reserve(kTaskRows * (call.head_dim + 2));
    worker.seen.reserve(kTaskRows);
    worker.scratch.reserve(kvq_tile_scratch(kTaskRows));
  }
  threads.pool->run((rows + kTaskRows - 1) / kTaskRows, [&](size_t task, unsigned worker) {
    attend_rows(call, task * kTaskRows, std::min(kTaskRows, rows - task * kTaskRows), workers[worker]);
  });
}

}  // namespace

Napi::Function ThreadsObject::define(Napi::Env env) {
  return DefineClass(env, "Threads", {InstanceMethod<&ThreadsObject::attend_tile>("attendTile"), InstanceMethod<&ThreadsObject::read_bandwidth>("readBandwidth")});
}

ThreadsObject::ThreadsObject(const Napi::CallbackInfo &info) : Napi::ObjectWrap<ThreadsObject>(info) {
  const auto threads = static_cast<unsigned>(integer(info[0], "threads", 1024));
  call(info.Env(), [&] { shared_ = std::make_shared<SharedThreads>(threads); });
}

Napi::Value ThreadsObject::attend_tile(const Napi::CallbackInfo &info) {
  const auto options = info[0].As<Napi::Object>();
  TileCall tile{};
  tile.isa = isa(options);
  tile.group = integer(options, "group");
  tile.queries = integer(options, "queries");
  tile.keys = integer(options, "keys", 1u << 31);
  tile.head_dim = integer(options, "headDim", 1024);
  tile.scale = static_cast<float>(number(options, "scale"));
  if (tile.head_dim % 8 != 0 || tile.head_dim == 0 || tile.queries == 0 || tile.group == 0 || tile.keys < tile.queries) reject(info.Env(), "attendTile: expected a head dim that is a multiple of 8 and at least as many keys as queries");
  const size_t rows = tile.group * tile.queries;
  tile.q = floats(options.Get("q"), "q", rows * tile.head_dim);
  tile.k = floats(options.Get("k"), "k", tile.keys * tile.head_dim);
  tile.v = floats(options.Get("v"), "v", tile.keys * tile.head_dim);
  tile.out = floats(options.Get("out"), "out", rows * tile.head_dim);
  return PromiseWorker::start(info.Env(), {options}, [shared = shared_, tile] { attend(*shared, tile); });
}

Napi::Value ThreadsObject::read_bandwidth(const Napi::CallbackInfo &info) {
  const size_t bytes = integer(info[0], "bytes", size_t{1} << 40);
  if (!info[1].IsTypedArray() || info[1].As<Napi::TypedArray>().TypedArrayType() != napi_float64_array || info[1].As<Napi::TypedArray>().ElementLength() < 1) reject(info.Env(), "out: expected a Float64Array of 1");
  auto out = info[1].As<Napi::Float64Array>();
  return PromiseWorker::start(info.Env(), {out}, [shared = shared_, bytes, data = out.Data()] {
    const std::lock_guard<std::mutex> lock(shared->mutex);
    constexpr size_t kChunk = size_t{1} << 20;
    const size_t chunks = std::max<size_t>(1, bytes / kChunk);
    AlignedBuffer<uint64_t> memory(chunks * kChunk / sizeof(uint64_t));
    std::memset(memory.data(), 1, chunks * kChunk);
    std::vector<uint64_t> sums(chunks);
    double best = 0;
    for (int repeat = 0; repeat < 5; repeat++) {
      const auto start = std::chrono::steady_clock::now();
      shared->pool->run(chunks, [&](size_t chunk, unsigned) {
        const uint64_t *from = memory.data() + chunk * kChunk / sizeof(uint64_t);
        uint64_t sum[8] = {};
        for (size_t index = 0; index < kChunk / sizeof(uint64_t); index += 8) {
          for (int lane = 0; lane < 8; lane++) sum[lane] += from[index + lane];
        }
        for (const uint64_t part : sum) sums[chunk] += part;
      });
      const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
      best = std::max(best, static_cast<double>(chunks * kChunk) / seconds.count() / 1e9);
    }
    // The sums are used, so that reading cannot be left out.
    uint64_t total = 0;
    for (const uint64_t sum : sums) total += sum;
    *data = total == 0 ? 0 : best;
  });
}

}  // namespace kvquant::node
