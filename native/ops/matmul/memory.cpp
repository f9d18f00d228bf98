// Large matrices come in huge pages where Linux has them: one page fault for 2 MB instead of 512, and fewer TLB misses while decoding streams the weights.
// Only the whole huge pages inside an allocation are asked for, so the memory taken is no larger than without.
#include "memory.h"

#include <stdint.h>
#include <stdlib.h>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace kvq::matmul {
namespace {

constexpr size_t alignment = 64;

#if defined(__linux__)
constexpr size_t huge_page = size_t{2} << 20;
// Below, glibc's heap serves best.
constexpr size_t smallest_mapping = 2 * huge_page;

size_t up_to_huge_page(size_t value) { return (value + huge_page - 1) / huge_page * huge_page; }

void *map_zeros(size_t bytes) {
  // Mapped with room for the alignment, then trimmed.
  const size_t wanted = up_to_huge_page(bytes), mapped = wanted + huge_page;
  void *start = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (start == MAP_FAILED) return nullptr;
  char *aligned = reinterpret_cast<char *>(up_to_huge_page(reinterpret_cast<size_t>(start)));
  const size_t before = static_cast<size_t>(aligned - static_cast<char *>(start));
  if (before) munmap(start, before);
  if (huge_page - before) munmap(aligned + wanted, huge_page - before);
  // A wish: without huge pages the memory works as well.
  (void)madvise(aligned, bytes / huge_page * huge_page, MADV_HUGEPAGE);
  return aligned;
}
#endif

}  // namespace

void *allocate_zeros(size_t bytes) {
#if defined(__linux__)
  if (bytes >= smallest_mapping) return map_zeros(bytes);
#endif
  const size_t whole = (bytes + alignment - 1) / alignment * alignment;
  // calloc gives fresh pages without touching them; the start is moved to the alignment and the original pointer kept before it.
  char *memory = static_cast<char *>(calloc(1, whole + alignment + sizeof(void *)));
  if (!memory) return nullptr;
  char *aligned = reinterpret_cast<char *>((reinterpret_cast<size_t>(memory) + sizeof(void *) + alignment - 1) / alignment * alignment);
  reinterpret_cast<void **>(aligned)[-1] = memory;
  return aligned;
}

void release_zeros(void *memory, size_t bytes) {
  if (!memory) return;
#if defined(__linux__)
  if (bytes >= smallest_mapping) {
    munmap(memory, up_to_huge_page(bytes));
    return;
  }
#endif
  free(static_cast<void **>(memory)[-1]);
}

}  // namespace kvq::matmul
