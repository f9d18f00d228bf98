// Speed of attention over exact storage, the baseline of every compressed cache: GB/s of keys and values against what a plain read of the same memory reaches.
// One thread, working set far over the caches, best of several passes. Checks every result against the scalar path first.
// Needs the objects of ops/attend-exact and ops/isa; takes no arguments.
#include <sys/mman.h>
#include <time.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "ops/attend-exact/attend-exact.h"

namespace {

constexpr size_t working_set = size_t(192) << 20;

// Time of this thread: what it waits for memory counts, what other programs take of its core does not.
double seconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return double(now.tv_sec) + 1e-9 * double(now.tv_nsec);
}

template <typename Action>
double best_of(int trials, Action action) {
  double best = 1e9;
  for (int i = 0; i < trials; i++) {
    const double start = seconds();
    action();
    const double time = seconds() - start;
    if (time < best) best = time;
  }
  return best;
}

uint8_t *reserve(size_t bytes) {
  void *memory = nullptr;
  if (posix_memalign(&memory, size_t(2) << 20, bytes) != 0) std::exit(1);
  madvise(memory, bytes, MADV_HUGEPAGE);
  return static_cast<uint8_t *>(memory);
}

double read_speed(const uint8_t *memory) {
  const uint64_t *words = reinterpret_cast<const uint64_t *>(memory);
  volatile uint64_t sink = 0;
  const double time = best_of(1, [&] {
    uint64_t sum[8] = {};
    for (size_t i = 0; i < working_set / 8; i += 8) {
      __builtin_prefetch(words + i + 512);
      for (int j = 0; j < 8; j++) sum[j] += words[i + j];
    }
    for (uint64_t s : sum) sink = sink + s;
  });
  return double(working_set) / time * 1e-9;
}

struct bench {
  uint32_t head_dim, group;
  std::vector<kvq_exact_view> views;
  std::vector<float> q, maximum, total, sum;
  uint8_t *scratch;

  bench(uint8_t *memory, uint32_t head_dim, uint32_t group)
      : head_dim(head_dim), group(group), q(size_t(group) * head_dim), maximum(group), total(group), sum(q.size()), scratch(reserve(kvq::exact_scratch_bytes(head_dim, group))) {
    const size_t side = size_t(head_dim) * 64;
    for (uint16_t *p = reinterpret_cast<uint16_t *>(memory); reinterpret_cast<uint8_t *>(p + 2 * side) <= memory + working_set; p += 2 * side) views.push_back({p, p + side, 64});
    for (size_t i = 0; i < q.size(); i++) q[i] = float(int(i * 37 % 101) - 50) / 25;
  }
  ~bench() { std::free(scratch); }
  double bytes(size_t count) const { return double(count) * 2 * 64 * head_dim * 2; }
  kvq_partial out() { return {maximum.data(), total.data(), sum.data()}; }
  void run(kvq_isa isa, size_t count) { kvq_attend_exact(isa, head_dim, 1, 0, q.data(), group, float(1 / std::sqrt(double(head_dim))), views.data(), count, out(), scratch); }

  bool correct(kvq_isa isa) {
    run(KVQ_ISA_SCALAR, 9);
    const std::vector<float> want_total = total, want_sum = sum;
    run(isa, 9);
    bool good = true;
    for (uint32_t g = 0; g < group; g++) {
      good = good && std::fabs(total[g] / want_total[g] - 1) < 1e-4;
      for (uint32_t c = 0; c < head_dim; c++) good = good && std::fabs(sum[g * head_dim + c] - want_sum[g * head_dim + c]) < 1e-4 * want_total[g];
    }
    return good;
  }
};

}  // namespace

int main() {
  uint8_t *memory = reserve(working_set);
  uint64_t state = 1;
  for (size_t i = 0; i < working_set / 2; i++) {  // fp16 numbers of magnitude 1 .. 2
    state = state * 6364136223846793005u + 1442695040888963407u;
    reinterpret_cast<uint16_t *>(memory)[i] = uint16_t(0x3c00 | ((state >> 40) & 0x83ff));
  }
  read_speed(memory);
  int wrong = 0;
  for (kvq_isa isa : {KVQ_ISA_AVX2, KVQ_ISA_AVX512}) {
    if (!kvq_isa_available(isa)) continue;
    std::printf("%-7s head dim, group: cold GB/s | ns a token and KV head | plain read GB/s, share | hot GB/s\n", kvq_isa_name(isa));
    for (uint32_t head_dim : {64, 80, 128, 256})
      for (uint32_t group : {1, 3, 4, 6, 8}) {
        bench b(memory, head_dim, group);
        if (!b.correct(isa)) std::printf("WRONG RESULT: head dim %u, group %u\n", head_dim, group), wrong++;
        const size_t all = b.views.size(), hot = (size_t(512) << 10) / size_t(b.bytes(1));
        double speed = 0, read = 0;  // interleaved, so that both see the same machine
        for (int i = 0; i < 5; i++) {
          speed = std::fmax(speed, b.bytes(all) / best_of(1, [&] { b.run(isa, all); }) * 1e-9);
          read = std::fmax(read, read_speed(memory));
        }
        const double hot_speed = b.bytes(hot) / best_of(20, [&] { b.run(isa, hot); }) * 1e-9;
        std::printf("  %3u, %2u: %5.1f | %5.1f | %5.1f, %3.0f%% | %5.1f\n", head_dim, group, speed, b.bytes(1) / 64 / speed, read, 100 * speed / read, hot_speed);
      }
  }
  std::free(memory);
  return wrong ? 1 : 0;
}
