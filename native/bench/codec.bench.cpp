// Speed of encoding and decoding a full page, microseconds a page and KV head, on one thread with everything in the caches. Plans and pages are made by the rules of the golden
// pages; every result is compared with the scalar path's bytes first.
// Needs the objects of ops/page, ops/encode, ops/decode and ops/isa; takes no arguments.
#include <time.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "kvquant/codec.h"
#include "test/golden-pages.h"

namespace {

double seconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

template <typename Action>
double best_microseconds(int trials, Action action) {
  double best = 1e9;
  for (int trial = 0; trial < trials; trial++) {
    const double start = seconds();
    action();
    const double taken = seconds() - start;
    best = taken < best ? taken : best;
  }
  return 1e6 * best;
}

void measure(const golden::page &page) {
  const golden::made_page made(page);
  const kvq_block_layout layout = made.layout();
  const size_t columns = page.columns();
  uint8_t *const scratch = static_cast<uint8_t *>(std::aligned_alloc(64, (kvq_codec_scratch(page.kv_heads, page.head_dim) + 63) / 64 * 64));
  uint8_t *const block = static_cast<uint8_t *>(std::aligned_alloc(64, (kvq_block_capacity(&layout) + KVQ_BLOCK_PADDING + 63) / 64 * 64));
  std::vector<float> out(64 * columns);
  std::vector<uint32_t> offsets(page.kv_heads);
  std::vector<uint8_t> expected;
  std::printf("%-14s %u bits, %u x %3u, outliers %2u, feedback %u:", page.family.c_str(), page.bits, page.kv_heads, page.head_dim, page.outliers, page.feedback);
  for (int index = 0; index < KVQ_ISA_COUNT; index++) {
    const kvq_isa isa = static_cast<kvq_isa>(index);
    if (!kvq_isa_available(isa)) continue;
    kvq_encoded encoded;
    const auto encode = [&] {
      if (page.keys()) kvq_encode_keys(isa, &made.key, made.x.data(), 64, block, scratch, &encoded);
      else kvq_encode_values(isa, &made.value, made.x.data(), 64, block, scratch, &encoded);
    };
    const auto decode = [&] {
      if (page.keys()) kvq_decode_keys(isa, &made.key, block, 64, offsets.data(), out.data(), scratch);
      else kvq_decode_values(isa, &made.value, block, 64, offsets.data(), out.data(), scratch);
    };
    encode();
    if (isa == KVQ_ISA_SCALAR) expected.assign(block, block + encoded.bytes);
    if (kvq_check_block(&layout, block, encoded.bytes, 64, offsets.data()) != KVQ_OK || expected.size() != encoded.bytes || std::memcmp(expected.data(), block, encoded.bytes) != 0) std::abort();
    const int trials = isa == KVQ_ISA_SCALAR ? 20 : 300;
    std::printf("  %s encode %6.2f decode %5.2f", kvq_isa_name(isa), best_microseconds(trials, encode) / page.kv_heads, best_microseconds(trials, decode) / page.kv_heads);
  }
  std::printf("\n");
  std::free(scratch);
  std::free(block);
}

}  // namespace

int main() {
  for (const uint32_t head_dim : {64u, 128u}) {
    for (const uint32_t bits : {2u, 3u, 4u}) {
      golden::page page = {};
      page.bits = bits, page.kv_heads = 2, page.head_dim = page.rotary_dim = head_dim, page.tokens = 64, page.seed = 30003; // a multiple of 3: no token out of the ordinary
      for (const uint32_t feedback : {0u, 1u}) {
        page.feedback = feedback;
        page.family = "channel-keys", page.outliers = 1, measure(page);
        page.family = "page-keys", page.outliers = 0, measure(page);
      }
      page.feedback = 0, page.kv_heads = 8;
      page.family = "token-values", page.outliers = 0, measure(page);
      page.outliers = 8 * head_dim / 100, measure(page);
      page.family = "rotated-values", page.outliers = 0, measure(page);
    }
  }
}
