#include "runtime/attend-layer.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace kvquant {

namespace {

// Pages of a decode task: 1,024 tokens, more when a sequence would fall into more than 64 parts.
constexpr size_t kSplitPages = 16;
constexpr size_t kMostSplits = 64;
// Query rows (queries x group) of a prefill task: enough that decoding a page costs little beside multiplying it.
constexpr size_t kBlockRows = 384;
constexpr float kLog2E = 1.4426950408889634f;

size_t split_length(size_t pages) { return std::max(kSplitPages, (pages + kMostSplits - 1) / kMostSplits); }

size_t block_queries(uint32_t group) { return std::max<size_t>(16, kBlockRows / group); }

float score_scale(uint32_t head_dim) { return 1.0f / std::sqrt(static_cast<float>(head_dim)); }

}  // namespace

void LayerAttention::run(const CacheRules &rules, std::span<const AttentionRequest> requests, const AttentionRows &rows) {
  plan(rules, requests);
  reserve(rules);
  pool_.run(tasks_.size(), [&](size_t index, unsigned worker) {
    const Task &task = tasks_[index];
    const AttentionRequest &request = requests[task.request];
    if (task.kind == Kind::kBlock) prefill(rules, request, task, rows, workers_[worker]);
    else decode(rules, request, task, rows, workers_[worker]);
  });
  const uint32_t group = rules.group();
  for (const Merge &merge : merges_) {
    std::vector<kvq_partial> parts(merge.count);
    for (size_t index = 0; index < merge.count; index++) parts[index] = partial(rules, merge.first_partial + index);
    float *out = rows.out + (requests[merge.request].first_row * rules.query_heads + merge.head * group) * rules.head_dim;
    kvq_merge_partials(parts.data(), parts.size(), group, rules.head_dim, out);
  }
}

void LayerAttention::plan(const CacheRules &rules, std::span<const AttentionRequest> requests) {
  tasks_.clear();
  merges_.clear();
  page_views_.clear();
  chunk_views_.clear();
  page_views_at_.assign(requests.size(), 0);
  chunk_views_at_.assign(requests.size(), 0);
  partials_ = 0;
  longest_block_ = 0;
  for (size_t index = 0; index < requests.size(); index++) {
    const AttentionRequest &request = requests[index];
    const LayerCache &cache = request.layer.cache();
    if (request.rows > 1) {
      const size_t block = block_queries(rules.group());
      longest_block_ = std::max(longest_block_, std::min(block, request.rows));
      // The last queries see most keys: they go first.
      for (size_t end = request.rows; end > 0;) {
        const size_t first = (end - 1) / block * block;
        for (uint32_t head = 0; head < rules.kv_heads; head++) tasks_.push_back({Kind::kBlock, index, head, first, end - first, 0});
        end = first;
      }
      continue;
    }
    // A single query is the newest token: it sees every page compressed, pending ones too, and the chunks after them.
    page_views_at_[index] = page_views_.size();
    for (size_t page = 0; page < cache.page_count(); page++) page_views_.push_back(cache.page_view(page));
    const size_t pending = cache.page_count() - cache.closed_pages();
    chunk_views_at_[index] = chunk_views_.size();
    for (size_t chunk = pending; chunk < cache.chunk_count(); chunk++) chunk_views_.push_back(cache.chunk_view(chunk));
    const size_t chunks = cache.chunk_count() - pending;
    for (uint32_t head = 0; head < rules.kv_heads; head++) {
      const size_t first_partial = partials_;
      for (size_t page = 0, step = split_length(cache.page_count()); page < cache.page_count(); page += step) {
        tasks_.push_back({Kind::kPages, index, head, page, std::min(step, cache.page_count() - page), partials_++});
      }
      for (size_t chunk = 0, step = split_length(chunks); chunk < chunks; chunk += step) {
        tasks_.push_back({Kind::kChunks, index, head, chunk, std::min(step, chunks - chunk), partials_++});
      }
      if (cache.sinks() > 0) tasks_.push_back({Kind::kSinks, index, head, 0, 0, partials_++});
      merges_.push_back({index, head, first_partial, partials_ - first_partial});
    }
  }
}

void LayerAttention::reserve(const CacheRules &rules) {
  const uint32_t group = rules.group();
  const size_t tile = size_t{rules.head_dim} * KVQ_PAGE_TOKENS;
  const size_t rows = longest_block_ * group;
  // Starts at a multiple of 16 floats, so that partial results do not share cache lines.
  partial_memory_.reserve(partials_ * ((size_t{group} * (rules.head_dim + 2) + 15) / 16 * 16));
  for (Worker &worker : workers_) {
    worker.kernel.reserve(std::max(kvq_attention_scratch(rules.head_dim, group), rows == 0 ? 0 : kvq_tile_scratch(static_cast<uint32_t>(rows))));
    if (worker.sinks.bytes() < 2 * tile * sizeof(uint16_t)) {
      // Slots without a sink stay what they are: finite.
      std::memset(worker.sinks.reserve(2 * tile), 0, 2 * tile * sizeof(uint16_t));
    }
    if (rows == 0) continue;
    worker.queries.reserve(rows * rules.head_dim);
    worker.keys.reserve(tile);
    worker.values.reserve(tile);
    worker.state.reserve(rows * (rules.head_dim + 2));
    worker.seen.reserve(rows);
  }
}

kvq_partial LayerAttention::partial(const CacheRules &rules, size_t index) const {
  const uint32_t group = rules.group();
  float *memory = partial_memory_.data() + index * ((size_t{group} * (rules.head_dim + 2) + 15) / 16 * 16);
  return {memory + size_t{group} * rules.head_dim, memory + size_t{group} * (rules.head_dim + 1), memory};
}

kvq_exact_view LayerAttention::sink_view(const LayerCache &cache, uint32_t head, Worker &worker) const {
  const uint32_t head_dim = cache.rules().exact.head_dim;
  const size_t columns = cache.rules().exact.columns();
  uint16_t *keys = worker.sinks.data();
  uint16_t *values = keys + size_t{head_dim} * KVQ_PAGE_TOKENS;
  for (uint32_t channel = 0; channel < head_dim; channel++) {
    const PanelPlace place = panel_place(head_dim, 0, channel);
    for (uint32_t sink = 0; sink < cache.sinks(); sink++) {
      const size_t from = sink * columns + size_t{head} * head_dim + channel;
      keys[channel * KVQ_PAGE_TOKENS + sink] = cache.sink_keys()[from];
      values[place.offset + sink * place.step] = cache.sink_values()[from];
    }
  }
  return {keys, values, cache.sinks()};
}

void LayerAttention::decode(const CacheRules &rules, const AttentionRequest &request, const Task &task, const AttentionRows &rows, Worker &worker) const {
  const LayerCache &cache = request.layer.cache();
  const uint32_t group = rules.group();
  const float scale = score_scale(rules.head_dim);
  const size_t at = size_t{task.head} * group * rules.head_dim;
  const kvq_partial out = partial(rules, task.partial);
  if (task.kind == Kind::kPages) {
    const float *query = rows.query + request.first_row * rows.query_stride + at;
    kvq_attend_pages(cache.rules().plan->tables(), task.head, query, group, cache.pending_length() - 1, scale, page_views_.data() + page_views_at_[task.request] + task.first, task.count, out,
                     worker.kernel.data());
    return;
  }
  const float *query = rows.rotated + request.first_row * rules.query_heads * rules.head_dim + at;
  if (task.kind == Kind::kChunks) {
    kvq_attend_exact(rules.isa, rules.head_dim, rules.kv_heads, task.head, query, group, scale, chunk_views_.data() + chunk_views_at_[task.request] + task.first, task.count, out, worker.kernel.data());
    return;
  }
  const kvq_exact_view sinks = sink_view(cache, task.head, worker);
  kvq_attend_exact(rules.isa, rules.head_dim, 1, 0, query, group, scale, &sinks, 1, out, worker.kernel.data());
}

void LayerAttention::prefill(const CacheRules &rules, const AttentionRequest &request, const Task &task, const AttentionRows &rows, Worker &worker) const {
  const LayerCache &cache = request.layer.cache();
  const uint32_t group = rules.group();
  const uint32_t head_dim = rules.head_dim;
  const size_t count = task.count * group;
  const float scale = score_scale(head_dim) * kLog2E;
  // Row i of the block: query i / group, head i % group of the group.
  float *queries = worker.queries.data();
  for (size_t query = 0; query < task.count; query++) {
    const float *from = rows.rotated + ((request.first_row + task.first + query) * rules.query_heads + size_t{task.head} * group) * head_dim;
    for (size_t index = 0; index < size_t{group} * head_dim; index++) queries[query * group * head_dim + index] = from[index] * scale;
  }
  float *state_memory = worker.state.data();
  const kvq_rows_state state = {state_memory + count * head_dim, state_memory + count * (head_dim + 1), state_memory};
  std::fill_n(state.sum, count * head_dim, 0.0f);
  std::fill_n(state.maximum, count, -std::numeric_limits<float>::infinity());
  std::fill_n(state.total, count, 0.0f);
  float *keys = worker.keys.data();
  float *values = worker.values.data();
  uint8_t *seen = worker.seen.data();
  const uint64_t first_position = cache.pending_length() - request.rows + task.first;

  // Gives every row the number of tokens of the tile that `tokens_seen(position)` says; rows before the first that sees any are left out.
  auto attend = [&](auto tokens_seen) {
    size_t first = task.count;
    for (size_t query = task.count; query-- > 0;) {
      const uint8_t tokens = static_cast<uint8_t>(tokens_seen(first_position + query));
      std::fill_n(seen + query * group, group, tokens);
      if (tokens > 0) first = query;
    }
    const size_t row = first * group;
    kvq_attend_tile(rules.isa, head_dim, queries + row * head_dim, static_cast<uint32_t>(count - row), keys, values, seen + row, {state.maximum + row, state.total + row, state.sum + row * head_dim},
                    worker.kernel.data());
  };

  if (cache.sinks() > 0) {
    const kvq_exact_view sinks = sink_view(cache, task.head, worker);
    kvq_stage_exact(rules.isa, head_dim, 1, 0, &sinks, keys, values);
    attend([&](uint64_t position) { return std::min<uint64_t>(sinks.tokens, position + 1); });
  }
  const uint64_t last_position = first_position + task.count - 1;
  const size_t visible_last = cache.visible_pages(last_position);
  for (size_t page = 0; page < visible_last; page++) {
    const kvq_page_view view = cache.page_view(page);
    kvq_stage_page(cache.rules().plan->tables(), task.head, &view, keys, values, worker.kernel.data());
    attend([&](uint64_t position) { return cache.visible_pages(position) > page ? view.tokens : 0u; });
  }
  const size_t closed = cache.closed_pages();
  for (size_t chunk = 0; chunk < cache.chunk_count(); chunk++) {
    const uint64_t start = cache.chunk_start(chunk);
    if (start > last_position) break;
    // Every row of the block sees it compressed.
    if (cache.visible_pages(first_position) > closed + chunk) continue;
    const kvq_exact_view view = cache.chunk_view(chunk);
    kvq_stage_exact(rules.isa, head_dim, rules.kv_heads, task.head, &view, keys, values);
    attend([&](uint64_t position) -> uint64_t {
      if (position < start || cache.visible_pages(position) > closed + chunk) return 0;
      return std::min<uint64_t>(view.tokens, position - start + 1);
    });
  }
  // Rows lie apart in the batch: finished into the queries' memory, then moved.
  kvq_finish_rows(head_dim, static_cast<uint32_t>(count), state, queries);
  for (size_t query = 0; query < task.count; query++) {
    float *to = rows.out + ((request.first_row + task.first + query) * rules.query_heads + size_t{task.head} * group) * head_dim;
    std::copy_n(queries + query * group * head_dim, size_t{group} * head_dim, to);
  }
}

}  // namespace kvquant
