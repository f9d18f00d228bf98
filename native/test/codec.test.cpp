// Encoding, checking and decoding of blocks, for every instruction set: bit for bit the golden pages that the TypeScript reference wrote, and no byte beyond a block.
// The golden file is read from ../packages/quant/golden/pages.txt, or from where KVQUANT_GOLDEN_PAGES says.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <string>
#include <vector>

#include "kvquant/codec.h"
#include "test/golden-pages.h"

namespace {

int failures = 0;

void report(bool passed, const std::string &sentence, const std::string &details = "") {
  if (passed) std::printf("ok %s\n", sentence.c_str());
  else std::printf("not ok %s: %s\n", sentence.c_str(), details.c_str()), failures++;
}

std::vector<kvq_isa> available_isas() {
  std::vector<kvq_isa> isas;
  for (int isa = 0; isa < KVQ_ISA_COUNT; isa++)
    if (kvq_isa_available(static_cast<kvq_isa>(isa))) isas.push_back(static_cast<kvq_isa>(isa));
  return isas;
}

// Exactly `count` numbers, 64-byte aligned, so that an address sanitizer notices the first byte beyond.
template <class Number>
struct exact_memory {
  explicit exact_memory(size_t count) : count(count) {
    void *memory = nullptr;
    if (posix_memalign(&memory, 64, count * sizeof(Number)) != 0) std::abort();
    data = static_cast<Number *>(memory);
  }
  ~exact_memory() { std::free(data); }
  exact_memory(const exact_memory &) = delete;
  Number *data;
  size_t count;
};

constexpr uint8_t poison = 0xa5;

// A page encoded for one ISA. The memory behind the block is poisoned; scratch starts as garbage.
struct encoded_page {
  encoded_page(kvq_isa isa, const golden::made_page &made) : layout(made.layout()), memory(kvq_block_capacity(&layout) + KVQ_BLOCK_PADDING), scratch(kvq_codec_scratch(layout.kv_heads, layout.head_dim)) {
    std::memset(memory.data, poison, memory.count);
    std::memset(scratch.data, 0xff, scratch.count);
    const golden::page &page = made.about;
    status = page.keys() ? kvq_encode_keys(isa, &made.key, made.x.data(), page.tokens, memory.data, scratch.data, &encoded)
                         : kvq_encode_values(isa, &made.value, made.x.data(), page.tokens, memory.data, scratch.data, &encoded);
  }
  bool rest_is_untouched() const {
    for (size_t place = encoded.bytes; place < memory.count; place++)
      if (memory.data[place] != poison) return false;
    return true;
  }
  kvq_block_layout layout;
  exact_memory<uint8_t> memory, scratch;
  kvq_encoded encoded = {};
  kvq_status status;
};

std::vector<float> decode(kvq_isa isa, const golden::made_page &made, const uint8_t *block, uint32_t tokens, const uint32_t *offsets) {
  const golden::page &page = made.about;
  std::vector<float> out(static_cast<size_t>(tokens) * page.columns(), std::numeric_limits<float>::quiet_NaN());
  exact_memory<uint8_t> scratch(kvq_codec_scratch(page.kv_heads, page.head_dim));
  std::memset(scratch.data, 0xff, scratch.count);
  if (page.keys()) kvq_decode_keys(isa, &made.key, block, tokens, offsets, out.data(), scratch.data);
  else kvq_decode_values(isa, &made.value, block, tokens, offsets, out.data(), scratch.data);
  return out;
}

std::string hex_of(const uint8_t *bytes, size_t count) {
  std::string text;
  char digits[3];
  for (size_t index = 0; index < count; index++) std::snprintf(digits, sizeof digits, "%02x", bytes[index]), text += digits;
  return text;
}

// What is wrong with one page on one ISA; empty when nothing is.
std::string check_golden_page(kvq_isa isa, const golden::made_page &made) {
  const golden::page &page = made.about;
  const encoded_page encoded(isa, made);
  if (encoded.status != KVQ_OK) return "status " + std::to_string(encoded.status);
  if (encoded.encoded.bytes != page.bytes) return std::to_string(encoded.encoded.bytes) + " bytes, expected " + std::to_string(page.bytes);
  if (!page.hex.empty() && hex_of(encoded.memory.data, page.bytes) != page.hex) return "bytes " + hex_of(encoded.memory.data, page.bytes) + ", expected " + page.hex;
  if (golden::crc32(encoded.memory.data, page.bytes) != page.block_crc) return "another block checksum";
  if (encoded.encoded.saturated != page.saturated) return std::to_string(encoded.encoded.saturated) + " saturated, expected " + std::to_string(page.saturated);
  if (encoded.encoded.clamped != page.clamped) return std::to_string(encoded.encoded.clamped) + " clamped, expected " + std::to_string(page.clamped);
  if (!encoded.rest_is_untouched()) return "bytes beyond the block were written";

  std::vector<uint32_t> offsets(page.kv_heads, 0);
  if (kvq_check_block(&encoded.layout, encoded.memory.data, page.bytes, page.tokens, offsets.data()) != KVQ_OK) return "its own check refuses it";
  const std::vector<float> out = decode(isa, made, encoded.memory.data, page.tokens, offsets.data());
  if (golden::crc32(out.data(), out.size() * sizeof(float)) != page.decoded_crc) return "another checksum of decoded numbers";
  // Fewer tokens than were encoded: what a truncated page shows.
  const uint32_t fewer = (page.tokens + 1) / 2;
  const std::vector<float> part = decode(isa, made, encoded.memory.data, fewer, offsets.data());
  if (std::memcmp(part.data(), out.data(), part.size() * sizeof(float)) != 0) return "decoding " + std::to_string(fewer) + " tokens gives other numbers";
  return "";
}

void test_golden_pages(const std::vector<golden::page> &pages) {
  for (const char *family : {"channel-keys", "page-keys", "token-values", "rotated-values"}) {
    std::string made_wrong;
    size_t count = 0;
    for (const golden::page &page : pages) {
      if (page.family != family) continue;
      count++;
      const golden::made_page made(page);
      if (made.plan_crc() != page.plan_crc) made_wrong = page.name() + ": another plan";
      if (golden::crc32(made.x.data(), made.x.size() * sizeof(float)) != page.input_crc) made_wrong = page.name() + ": another input";
    }
    report(made_wrong.empty() && count > 10, std::string("plans and inputs of the ") + family + " pages are made as in TypeScript", made_wrong);
    for (const kvq_isa isa : available_isas()) {
      std::string wrong;
      for (const golden::page &page : pages) {
        if (page.family != family) continue;
        const std::string problem = check_golden_page(isa, golden::made_page(page));
        if (wrong.empty() && !problem.empty()) wrong = page.name() + ": " + problem;
      }
      report(wrong.empty(), std::string(kvq_isa_name(isa)) + " writes and reads the golden " + family + " pages", wrong);
    }
  }
}

// Numbers for tests, xorshift64*.
struct random_numbers {
  uint64_t state;
  uint32_t below(uint32_t count) {
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return static_cast<uint32_t>(((state * 0x2545f4914f6cdd1dull) >> 32) % count);
  }
};

golden::page random_page(random_numbers &random) {
  golden::page page = {};
  page.family = std::vector<std::string>{"channel-keys", "page-keys", "token-values", "rotated-values"}[random.below(4)];
  page.bits = 2 + random.below(4);
  page.kv_heads = 1 + random.below(5);
  page.head_dim = 16 * (1 + random.below(16));
  page.rotary_dim = random.below(2) ? page.head_dim : 2 * (1 + random.below(page.head_dim / 2));
  page.outliers = page.family == "channel-keys" ? random.below(2) : page.family == "token-values" ? random.below(2) * random.below(page.columns() / 4) : 0;
  page.feedback = page.keys() ? random.below(2) : 0;
  if (page.head_dim % 7 == 0) page.feedback = 0; // the rule's order is a permutation only where 7 does not divide
  page.tokens = random.below(4) ? 1 + random.below(64) : 64;
  page.seed = 1 + random.below(1000000000);
  return page;
}

void test_every_isa_agrees() {
  random_numbers random = {20240607};
  std::string wrong;
  for (int round = 0; round < 200 && wrong.empty(); round++) {
    const golden::page page = random_page(random);
    const golden::made_page made(page);
    std::vector<uint8_t> first;
    std::vector<float> numbers;
    for (const kvq_isa isa : available_isas()) {
      const encoded_page encoded(isa, made);
      const std::vector<uint8_t> bytes(encoded.memory.data, encoded.memory.data + encoded.encoded.bytes);
      std::vector<uint32_t> offsets(page.kv_heads, 0);
      if (encoded.status != KVQ_OK || kvq_check_block(&encoded.layout, bytes.data(), bytes.size(), page.tokens, offsets.data()) != KVQ_OK) wrong = page.name() + " is refused";
      const std::vector<float> out = decode(isa, made, encoded.memory.data, page.tokens, offsets.data());
      if (isa == KVQ_ISA_SCALAR) first = bytes, numbers = out;
      else if (bytes != first || std::memcmp(out.data(), numbers.data(), out.size() * sizeof(float)) != 0) wrong = page.name() + ": " + kvq_isa_name(isa);
    }
  }
  report(wrong.empty(), "every instruction set writes the same bytes and reads the same numbers: 200 pages of any head dim, width and count of tokens", wrong);
}

kvq_status check_exactly(const kvq_block_layout &layout, const std::vector<uint8_t> &bytes, uint32_t tokens) {
  const exact_memory<uint8_t> block(bytes.size());
  std::memcpy(block.data, bytes.data(), bytes.size());
  std::vector<uint32_t> offsets(layout.kv_heads);
  return kvq_check_block(&layout, block.data, bytes.size(), tokens, layout.outliers ? offsets.data() : nullptr);
}

struct small_block {
  golden::page page;
  kvq_block_layout layout;
  std::vector<uint8_t> bytes;
};

// Blocks of 2 heads of 32 channels and 10 tokens.
std::vector<small_block> small_blocks() {
  std::vector<small_block> blocks;
  for (const char *family : {"channel-keys", "page-keys", "token-values", "rotated-values"}) {
    golden::page page = {};
    page.family = family, page.bits = 3, page.kv_heads = 2, page.head_dim = page.rotary_dim = 32, page.tokens = 10, page.seed = 77;
    page.outliers = page.family == "channel-keys" ? 1 : page.family == "token-values" ? 5 : 0;
    const golden::made_page made(page);
    const encoded_page encoded(KVQ_ISA_SCALAR, made);
    blocks.push_back({page, encoded.layout, {encoded.memory.data, encoded.memory.data + encoded.encoded.bytes}});
  }
  return blocks;
}

void test_wrong_lengths() {
  std::string wrong;
  for (const small_block &block : small_blocks()) {
    for (size_t length = 0; length <= block.bytes.size() + 5; length++) {
      std::vector<uint8_t> bytes = block.bytes;
      bytes.resize(length);
      const bool whole = length == block.bytes.size();
      if ((check_exactly(block.layout, bytes, block.page.tokens) == KVQ_OK) != whole) wrong = block.page.family + ", " + std::to_string(length) + " of " + std::to_string(block.bytes.size()) + " bytes";
    }
    for (const uint32_t tokens : {0u, 65u, 0xffffffffu})
      if (check_exactly(block.layout, block.bytes, tokens) != KVQ_CORRUPT_DATA) wrong = block.page.family + ", " + std::to_string(tokens) + " tokens";
  }
  report(wrong.empty(), "a block of any other length, or of 0 or 65 tokens, is corrupt", wrong);
}

void test_refused_contents() {
  const std::vector<small_block> blocks = small_blocks();
  std::string wrong;
  const auto expect = [&](const small_block &block, size_t place, uint8_t value, const char *what) {
    std::vector<uint8_t> bytes = block.bytes;
    bytes[place] = value;
    if (check_exactly(block.layout, bytes, block.page.tokens) != KVQ_CORRUPT_DATA) wrong = what;
  };
  // 2 tokens with 1 and 2 entries, written by hand: counts, 3 deltas, 3 indices, 3 zeros.
  small_block keys = blocks[0];
  const size_t start = kvq_outliers_offset(&keys.layout);
  keys.bytes.resize(start);
  std::vector<uint8_t> section(32, 0);
  section[0] = 1 | 2 << 4;
  for (const uint8_t byte : {0x00, 0x3c, 0x00, 0xbc, 0x01, 0x00, 7, 3, 31, 0, 0, 0}) section.push_back(byte);
  keys.bytes.insert(keys.bytes.end(), section.begin(), section.end());
  keys.bytes.insert(keys.bytes.end(), section.begin(), section.end());
  std::vector<uint32_t> offsets(2);
  if (kvq_check_block(&keys.layout, keys.bytes.data(), keys.bytes.size(), 10, offsets.data()) != KVQ_OK || offsets[0] != start || offsets[1] != start + 44) wrong = "two sections by hand are refused, or lie elsewhere";
  expect(keys, start, 2 | 1 << 4, "indices that descend in a token are accepted");
  expect(keys, start + 5, 1, "entries of a token that is not held are accepted");
  expect(keys, start + 38 + 2, 32, "an index outside the head is accepted");
  expect(keys, start + 38 + 2, 3, "an index twice in a token is accepted");
  expect(keys, start + 33, 0x7c, "an infinite difference is accepted");
  expect(keys, start + 44 + 35, 0xfe, "a difference that is not a number is accepted");
  expect(keys, start + 42, 1, "padding that is not zero is accepted");
  for (const size_t family : {2, 3}) {
    const small_block &values = blocks[family];
    for (uint32_t array = 0; array < values.layout.token_arrays; array++) {
      const size_t numbers = kvq_token_data_offset(&values.layout) + 128 * array;
      expect(values, numbers + 2 * 9 + 1, 0x7c, "an infinite number of a token is accepted");
      expect(values, numbers + 2 * 10, 1, "a number of a missing token is accepted");
      expect(values, numbers + 2 * 63 + 1, 0x80, "minus zero as the number of a missing token is accepted");
    }
  }
  report(wrong.empty(), "contents that no encoder writes are corrupt", wrong);
}

void test_damaged_blocks() {
  random_numbers random = {99};
  std::string wrong;
  size_t accepted = 0, refused = 0;
  for (const small_block &block : small_blocks()) {
    const golden::made_page made(block.page);
    for (int round = 0; round < 4000 && wrong.empty(); round++) {
      const exact_memory<uint8_t> damaged(block.bytes.size());
      std::memcpy(damaged.data, block.bytes.data(), block.bytes.size());
      for (uint32_t flips = 1 + random.below(3); flips > 0; flips--) damaged.data[random.below(static_cast<uint32_t>(damaged.count))] ^= static_cast<uint8_t>(1 + random.below(255));
      std::vector<uint32_t> offsets(block.page.kv_heads, 0);
      if (kvq_check_block(&block.layout, damaged.data, damaged.count, block.page.tokens, offsets.data()) != KVQ_OK) {
        refused++;
        continue;
      }
      accepted++;
      std::vector<float> scalar;
      for (const kvq_isa isa : available_isas()) {
        const std::vector<float> out = decode(isa, made, damaged.data, block.page.tokens, offsets.data());
        for (const float x : out)
          if (!std::isfinite(x)) wrong = block.page.family + " decodes to a number that is not finite";
        if (isa == KVQ_ISA_SCALAR) scalar = out;
        else if (std::memcmp(out.data(), scalar.data(), out.size() * sizeof(float)) != 0) wrong = block.page.family + ": " + kvq_isa_name(isa) + " decodes damaged bytes differently";
      }
    }
  }
  report(wrong.empty() && accepted > 1000 && refused > 1000, "damaged blocks are refused, or decode to finite numbers, the same ones everywhere", wrong);
}

void test_layouts() {
  std::string wrong;
  for (const uint32_t bits : {2u, 3u, 4u, 5u}) {
    for (const uint32_t head_dim : {16u, 64u, 80u, 96u, 128u, 256u}) {
      kvq_key_plan key = {};
      key.kv_heads = 3, key.head_dim = head_dim, key.bits = bits, key.page_scales = 1;
      const kvq_block_layout scaled = kvq_key_layout(&key);
      key.page_scales = 0, key.outliers = 1;
      const kvq_block_layout listed = kvq_key_layout(&key);
      kvq_value_plan value = {};
      value.kv_heads = 3, value.head_dim = head_dim, value.bits = bits, value.outlier_count = 2;
      const kvq_block_layout tokens = kvq_value_layout(&value);
      value.rotated = 1;
      const kvq_block_layout rotated = kvq_value_layout(&value);
      const size_t codes = 8 * static_cast<size_t>(head_dim) * bits, side = head_dim <= 32 ? 64 : head_dim == 64 ? 128 : head_dim == 80 || head_dim == 96 ? 192 : 2 * head_dim;
      const size_t capacity = 3 * (32 + 64 * 15 * 3);
      const bool right = kvq_head_offset(&scaled, 2) == 2 * (codes + side) && kvq_block_capacity(&scaled) == 3 * (codes + side) && kvq_token_data_offset(&tokens) == 3 * codes &&
                         kvq_outliers_offset(&tokens) == 3 * codes + 256 && kvq_block_capacity(&tokens) == 3 * codes + 256 + capacity && kvq_block_capacity(&rotated) == 3 * codes + 128 &&
                         kvq_block_capacity(&listed) == 3 * codes + capacity && kvq_head_offset(&scaled, 1) % 64 == 0 && kvq_head_offset(&tokens, 1) % 64 == 0;
      if (!right) wrong = std::to_string(bits) + " bits, head dim " + std::to_string(head_dim);
    }
  }
  report(wrong.empty(), "layouts have the sizes of the drawing, and heads start at multiples of 64 bytes", wrong);
}

void test_refused_plans() {
  golden::page page = {};
  page.family = "channel-keys", page.bits = 4, page.kv_heads = 1, page.head_dim = page.rotary_dim = 64, page.outliers = page.feedback = 1, page.tokens = 64, page.seed = 5;
  golden::made_page made(page);
  const auto encode = [&](uint32_t tokens) {
    const kvq_block_layout layout = made.layout();
    const exact_memory<uint8_t> out(200000), scratch(kvq_codec_scratch(1, 512));
    kvq_encoded encoded;
    return layout.token_arrays == 0 ? kvq_encode_keys(KVQ_ISA_SCALAR, &made.key, made.x.data(), tokens, out.data, scratch.data, &encoded) : KVQ_OK;
  };
  std::string wrong;
  if (encode(64) != KVQ_OK) wrong = "a plan is refused";
  if (encode(0) != KVQ_INVALID_ARGUMENT || encode(65) != KVQ_INVALID_ARGUMENT) wrong = "0 or 65 tokens are accepted";
  for (const uint32_t head_dim : {24u, 272u}) {
    made.key.head_dim = made.key.rotary_dim = head_dim;
    if (encode(64) != KVQ_UNSUPPORTED) wrong = "head dim " + std::to_string(head_dim) + " is accepted";
  }
  made.key.head_dim = made.key.rotary_dim = 64;
  for (const uint32_t bits : {1u, 6u, 8u}) {
    made.key.bits = bits;
    if (encode(64) != KVQ_UNSUPPORTED) wrong = std::to_string(bits) + " bits are accepted";
  }
  made.key.bits = 4;
  made.key.rotary_dim = 66;
  if (encode(64) != KVQ_INVALID_ARGUMENT) wrong = "a rotary dim beyond the head dim is accepted";
  made.key.rotary_dim = 64;
  for (float &weight : made.weights) weight = 65504.0f;
  for (float &x : made.x) x = 1e30f;
  if (encode(64) != KVQ_INVALID_ARGUMENT) wrong = "feedback that overflows is accepted";
  report(wrong.empty(), "plans without kernels are unsupported, others that make no sense invalid", wrong);

  golden::page rotated = {};
  rotated.family = "rotated-values", rotated.bits = 4, rotated.kv_heads = 1, rotated.head_dim = 64, rotated.tokens = 64, rotated.seed = 5;
  golden::made_page values(rotated);
  wrong.clear();
  for (const kvq_isa isa : available_isas()) {
    const exact_memory<uint8_t> out(200000), scratch(kvq_codec_scratch(1, 512));
    kvq_encoded encoded;
    for (float &x : values.x) x = 1e30f;
    if (kvq_encode_values(isa, &values.value, values.x.data(), 64, out.data, scratch.data, &encoded) != KVQ_OK) wrong = "large values are refused";
    for (float &x : values.x) x = 3e38f;
    if (kvq_encode_values(isa, &values.value, values.x.data(), 64, out.data, scratch.data, &encoded) != KVQ_INVALID_ARGUMENT) wrong = "a rotation that overflows is accepted";
  }
  report(wrong.empty(), "values whose rotation leaves fp32 are refused", wrong);
}

void test_golden_changes(const std::vector<golden::page> &pages) {
  std::string wrong;
  size_t accepted = 0, refused = 0;
  for (const golden::page &page : pages) {
    if (page.changes.empty()) continue;
    const golden::made_page made(page);
    const encoded_page encoded(KVQ_ISA_SCALAR, made);
    for (const golden::change &change : page.changes) {
      const exact_memory<uint8_t> block(page.bytes);
      std::memcpy(block.data, encoded.memory.data, page.bytes);
      block.data[change.place] ^= change.bits;
      std::vector<uint32_t> offsets(page.kv_heads, 0);
      const bool corrupt = kvq_check_block(&encoded.layout, block.data, page.bytes, page.tokens, offsets.data()) != KVQ_OK;
      const std::string place = page.family + ", byte " + std::to_string(change.place);
      if (corrupt != change.corrupt) wrong = place + (corrupt ? " is refused" : " is accepted");
      (corrupt ? refused : accepted)++;
      for (const kvq_isa isa : available_isas()) {
        if (corrupt) break;
        const std::vector<float> out = decode(isa, made, block.data, page.tokens, offsets.data());
        if (golden::crc32(out.data(), out.size() * sizeof(float)) != change.decoded_crc) wrong = place + " decodes to other numbers: " + kvq_isa_name(isa);
      }
    }
  }
  report(wrong.empty() && accepted > 50 && refused > 50, "changed blocks are refused, or decode, just as in TypeScript", wrong.empty() ? std::to_string(accepted) + " accepted, " + std::to_string(refused) + " refused" : wrong);
}

}  // namespace

int main() {
  const char *path = std::getenv("KVQUANT_GOLDEN_PAGES");
  const std::vector<golden::page> pages = golden::read_pages(path != nullptr ? path : "../packages/quant/golden/pages.txt");
  report(pages.size() > 100, "the golden file has more than 100 pages", std::to_string(pages.size()) + " read; run in native/ or set KVQUANT_GOLDEN_PAGES");
  if (pages.empty()) return 1;
  test_golden_pages(pages);
  test_golden_changes(pages);
  test_every_isa_agrees();
  test_layouts();
  test_wrong_lengths();
  test_refused_contents();
  test_damaged_blocks();
  test_refused_plans();
  return failures > 0 ? 1 : 0;
}
