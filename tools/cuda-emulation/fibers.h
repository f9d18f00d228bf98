// Runs the threads of a GPU block as fibers on one CPU thread: blocks one after another, threads in an order that a seed chooses, switched where they wait for each other.
//
// Fatal, with the places of the threads concerned: threads of a block at different barriers, a barrier that some threads have left behind, lanes of a warp at different operations or with
// different masks, a lane that is not in its mask or has exited, a deadlock.
// Shared memory is filled with a byte before every block, so that what nobody wrote is conspicuous. With -fsanitize=address every piece of it is an allocation of its own; with -fsanitize=thread
// every GPU thread is a fiber of the sanitizer, and only barriers and __syncwarp order memory.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <functional>
#include <memory>
#include <vector>

#if !defined(__x86_64__)
#error "the emulator switches fibers in x86-64 assembly"
#endif
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(__SANITIZE_THREAD__)
extern "C" {
void *__tsan_get_current_fiber();
void *__tsan_create_fiber(unsigned flags);
void __tsan_destroy_fiber(void *fiber);
void __tsan_switch_to_fiber(void *fiber, unsigned flags);
void __tsan_acquire(void *address);
void __tsan_release(void *address);
void AnnotateIgnoreReadsBegin(const char *file, int line);
void AnnotateIgnoreReadsEnd(const char *file, int line);
void AnnotateIgnoreWritesBegin(const char *file, int line);
void AnnotateIgnoreWritesEnd(const char *file, int line);
}
#define KVQ_UNWATCHED __attribute__((no_sanitize("thread"), noinline))
#else
#define KVQ_UNWATCHED __attribute__((noinline))
#endif

struct uint3 {
  uint32_t x, y, z;
};

namespace emulation {

struct source_place {
  const char *file;
  int line;
};

enum class status : uint8_t { ready, in_warp, at_barrier, done };

// A copy that was started and is not there yet.
struct pending_copy {
  void *to;
  const void *from;
  bool valid;
};

struct fiber {
  void *stack_pointer = nullptr;
  char *stack = nullptr;
  status state = status::done;
  uint32_t index = 0;
  // The operation a waiting fiber is at.
  const void *kind = nullptr;
  uint32_t mask = 0;
  void *argument = nullptr;
  source_place place = {"", 0};
  std::vector<std::vector<pending_copy>> copies;
  std::vector<pending_copy> open_copies;
  void *fake_stack = nullptr;
  void *sanitizer_fiber = nullptr;
  uint32_t barriers = 0, warp_barriers = 0;
};

// The state of the running block.
struct machine {
  uint3 block = {}, grid = {};
  uint32_t threads = 0;
  const char *kernel = "";
  std::vector<fiber> fibers;
  std::vector<uint32_t> order;
  std::function<void()> body;
  void *scheduler = nullptr;
  void *scheduler_fake_stack = nullptr;
  void *scheduler_fiber = nullptr;
  const void *host_stack = nullptr;
  size_t host_stack_size = 0;
  fiber *current = nullptr;
  uint8_t *dynamic_shared = nullptr;
  size_t dynamic_bytes = 0;
  // Variables in static shared memory: plain arrays, which the thread sanitizer need not watch.
  uint8_t *static_shared[64] = {};
  size_t static_sizes[64] = {};
  size_t static_count = 0;
  char barrier_tags[2] = {};
  std::vector<char> warp_tags;
  char end_tag = 0;
};
inline machine gpu;

constexpr size_t stack_bytes = 256 << 10;
constexpr int misuse_exit_code = 86;

inline void describe(const fiber &f) {
  static const char *const names[] = {"runnable", "in a warp operation", "at a barrier", "exited"};
  fprintf(stderr, "    thread %u: %s, %s:%d, mask %08x\n", f.index, names[static_cast<int>(f.state)], f.place.file, f.place.line, f.mask);
}
[[noreturn]] inline void misuse(const char *what, const fiber *a = nullptr, const fiber *b = nullptr) {
  fprintf(stderr, "emulation: %s\n  kernel %s, block (%u, %u, %u) of %u threads\n", what, gpu.kernel, gpu.block.x, gpu.block.y, gpu.block.z, gpu.threads);
  if (a != nullptr) describe(*a);
  if (b != nullptr) describe(*b);
  fflush(nullptr);
  _exit(misuse_exit_code);
}

extern "C" void kvq_emulation_switch(void **save, void *to);
asm(R"(.text
.weak kvq_emulation_switch
.type kvq_emulation_switch, @function
kvq_emulation_switch:
  push %rbp
  push %rbx
  push %r12
  push %r13
  push %r14
  push %r15
  mov %rsp, (%rdi)
  mov %rsi, %rsp
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbx
  pop %rbp
  ret
.size kvq_emulation_switch, . - kvq_emulation_switch
)");

KVQ_UNWATCHED inline void leave_fiber([[maybe_unused]] bool last) {
  fiber *me = gpu.current;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(last ? nullptr : &me->fake_stack, gpu.host_stack, gpu.host_stack_size);
#endif
#if defined(__SANITIZE_THREAD__)
  __tsan_switch_to_fiber(gpu.scheduler_fiber, 1); // 1: implies no order of memory
#endif
  kvq_emulation_switch(&me->stack_pointer, gpu.scheduler);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(me->fake_stack, &gpu.host_stack, &gpu.host_stack_size);
#endif
}

KVQ_UNWATCHED inline void enter_fiber(fiber &f) {
  gpu.current = &f;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&gpu.scheduler_fake_stack, f.stack, stack_bytes);
#endif
#if defined(__SANITIZE_THREAD__)
  __tsan_switch_to_fiber(f.sanitizer_fiber, 1);
#endif
  kvq_emulation_switch(&gpu.scheduler, f.stack_pointer);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(gpu.scheduler_fake_stack, nullptr, nullptr);
#endif
}

KVQ_UNWATCHED inline void fiber_entry() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &gpu.host_stack, &gpu.host_stack_size);
#endif
  gpu.body();
  if (!gpu.current->copies.empty() || !gpu.current->open_copies.empty()) misuse("a thread exits before its copies are awaited", gpu.current);
  gpu.current->state = status::done;
#if defined(__SANITIZE_THREAD__)
  __tsan_release(&gpu.end_tag);
#endif
  leave_fiber(true);
  abort();
}

KVQ_UNWATCHED inline void prepare_fiber(fiber &f) {
#if defined(__SANITIZE_THREAD__)
  if (f.stack != nullptr) munmap(f.stack, stack_bytes); // fresh pages: the sanitizer remembers accesses to a stack that is used again
  f.stack = nullptr;
  f.sanitizer_fiber = __tsan_create_fiber(0);
#endif
  if (f.stack == nullptr) f.stack = static_cast<char *>(mmap(nullptr, stack_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  if (f.stack == MAP_FAILED) misuse("no memory for a stack");
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(f.stack, stack_bytes);
#endif
  void **top = reinterpret_cast<void **>(f.stack + stack_bytes);
  *--top = nullptr;
  *--top = reinterpret_cast<void *>(&fiber_entry); // the stack is aligned as after a call
  for (int i = 0; i < 6; i++) *--top = nullptr;
  f.stack_pointer = top;
  f.state = status::ready;
  f.barriers = f.warp_barriers = 0;
}

// __syncthreads: waits for all threads of the block.
KVQ_UNWATCHED inline void block_barrier(source_place place) {
  fiber *me = gpu.current;
  me->state = status::at_barrier;
  me->place = place;
#if defined(__SANITIZE_THREAD__)
  char *tag = &gpu.barrier_tags[me->barriers++ & 1]; // two tags: nobody may pick up an arrival at the next barrier
  __tsan_release(tag);
  leave_fiber(false);
  __tsan_acquire(tag);
#else
  leave_fiber(false);
#endif
}

using completion = void (*)(void *const (&arguments)[32], uint32_t mask);

// Meets the other lanes of `mask` in the same operation; the last one to arrive completes it for all: arguments [lane], NULL outside the mask.
KVQ_UNWATCHED inline void warp_operation(completion complete, uint32_t mask, void *argument, bool orders_memory, source_place place) {
  fiber *me = gpu.current;
  const uint32_t lane = me->index & 31, first = me->index & ~31u;
  me->kind = reinterpret_cast<const void *>(complete);
  me->mask = mask;
  me->argument = argument;
  me->place = place;
  me->state = status::in_warp;
  if (!(mask >> lane & 1)) misuse("the calling lane is not in the mask of its warp operation", me);
  bool all = true;
  for (uint32_t l = 0; l < 32; l++) {
    if (!(mask >> l & 1)) continue;
    if (first + l >= gpu.threads) misuse("the mask of a warp operation names a lane beyond the block", me);
    const fiber &other = gpu.fibers[first + l];
    if (other.state == status::done) misuse("the mask of a warp operation names a lane that has exited", me, &other);
    if (other.state == status::in_warp && (other.mask != mask || other.kind != me->kind || other.place.line != place.line)) misuse("lanes of one mask are at different warp operations", me, &other);
    all &= other.state == status::in_warp;
  }
  (void)orders_memory;
#if defined(__SANITIZE_THREAD__)
  const uint32_t turn = me->warp_barriers & 1;
  if (orders_memory) {
    me->warp_barriers++;
    __tsan_release(&gpu.warp_tags[me->index * 2 + turn]);
  }
#endif
  if (all) {
    void *arguments[32] = {};
    for (uint32_t l = 0; l < 32; l++) if (mask >> l & 1) arguments[l] = gpu.fibers[first + l].argument;
#if defined(__SANITIZE_THREAD__)
    AnnotateIgnoreReadsBegin(__FILE__, __LINE__); // one lane moves the registers of all
    AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
#endif
    if (complete != nullptr) complete(arguments, mask);
#if defined(__SANITIZE_THREAD__)
    AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
    AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
#endif
    for (uint32_t l = 0; l < 32; l++) if (mask >> l & 1) gpu.fibers[first + l].state = status::ready;
  } else {
    leave_fiber(false);
  }
#if defined(__SANITIZE_THREAD__)
  // Lanes of a mask have met equally often only if masks do not change; then the other's tag of this meeting has the same parity.
  if (orders_memory) for (uint32_t l = 0; l < 32; l++) if (mask >> l & 1) __tsan_acquire(&gpu.warp_tags[(first + l) * 2 + turn]);
#endif
}

inline uint32_t next_random(uint64_t &state) {
  state = state * 6364136223846793005ull + 1442695040888963407ull;
  return static_cast<uint32_t>(state >> 33);
}
// seed 0: ascending, 1: descending, else pseudo-random.
inline void make_order(std::vector<uint32_t> &order, uint32_t count, uint64_t seed) {
  order.resize(count);
  for (uint32_t i = 0; i < count; i++) order[i] = seed == 1 ? count - 1 - i : i;
  if (seed > 1) for (uint32_t i = count; i > 1; i--) std::swap(order[i - 1], order[next_random(seed) % i]);
}

// What shared memory holds before anybody writes it: KVQ_EMULATION_POISON, a byte; 0xff makes every float not a number.
inline uint8_t poison_byte() {
  static const uint8_t byte = [] {
    const char *named = getenv("KVQ_EMULATION_POISON");
    return static_cast<uint8_t>(named == nullptr ? 0xa5 : strtoul(named, nullptr, 0));
  }();
  return byte;
}

// An allocation that is too small by not a byte: the sanitizer sees every access beyond it.
inline uint8_t *make_shared_memory(size_t bytes) {
  void *memory = nullptr;
  if (posix_memalign(&memory, 128, bytes == 0 ? 1 : bytes) != 0) misuse("no memory for shared memory");
  memset(memory, poison_byte(), bytes);
  return static_cast<uint8_t *>(memory);
}

// A variable in static shared memory; returns its number.
KVQ_UNWATCHED inline size_t reserve_shared(size_t bytes) {
  if (gpu.static_count == 64) misuse("too many variables in shared memory");
  gpu.static_sizes[gpu.static_count] = bytes;
  gpu.static_shared[gpu.static_count] = make_shared_memory(bytes);
  return gpu.static_count++;
}
KVQ_UNWATCHED inline uint8_t *shared_piece(size_t number) { return gpu.static_shared[number]; }

KVQ_UNWATCHED inline void run_block() {
  free(gpu.dynamic_shared);
  gpu.dynamic_shared = make_shared_memory(gpu.dynamic_bytes);
  for (size_t i = 0; i < gpu.static_count; i++) {
    free(gpu.static_shared[i]);
    gpu.static_shared[i] = make_shared_memory(gpu.static_sizes[i]);
  }
  for (fiber &f : gpu.fibers) prepare_fiber(f);
  for (uint32_t left = gpu.threads; left > 0;) {
    bool progress = false;
    for (const uint32_t i : gpu.order) {
      if (gpu.fibers[i].state != status::ready) continue;
      enter_fiber(gpu.fibers[i]);
      progress = true;
      if (gpu.fibers[i].state == status::done) left--;
    }
    if (progress || left == 0) continue;
    const fiber *waiting = nullptr;
    uint32_t at_barrier = 0;
    for (const fiber &f : gpu.fibers) {
      if (f.state == status::in_warp) misuse("deadlock: a warp operation waits for lanes that are elsewhere", &f, waiting);
      if (f.state != status::at_barrier) continue;
      if (waiting != nullptr && (waiting->place.line != f.place.line || strcmp(waiting->place.file, f.place.file) != 0)) misuse("threads of a block wait at different barriers", waiting, &f);
      waiting = &f;
      at_barrier++;
    }
    if (at_barrier != gpu.threads) misuse("a barrier after some threads of the block exited", waiting);
    for (fiber &f : gpu.fibers) f.state = status::ready;
  }
#if defined(__SANITIZE_THREAD__)
  for (fiber &f : gpu.fibers) __tsan_destroy_fiber(f.sanitizer_fiber);
  __tsan_acquire(&gpu.end_tag); // blocks are ordered
#endif
}

// Runs body() for every thread of every block.
KVQ_UNWATCHED inline void run_grid(const char *kernel, uint3 grid, uint32_t threads, size_t shared_bytes, uint64_t seed, std::function<void()> body) {
  gpu.kernel = kernel, gpu.grid = grid, gpu.threads = threads, gpu.dynamic_bytes = shared_bytes, gpu.body = std::move(body);
  if (threads == 0 || threads > 1024 || grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.y > 65535 || grid.z > 65535 || shared_bytes > 227 * 1024) misuse("a launch no device accepts");
  for (size_t i = threads; i < gpu.fibers.size(); i++) if (gpu.fibers[i].stack != nullptr) munmap(gpu.fibers[i].stack, stack_bytes);
  gpu.fibers.resize(threads);
  gpu.warp_tags.assign(2 * threads, 0);
  for (uint32_t i = 0; i < threads; i++) gpu.fibers[i].index = i;
#if defined(__SANITIZE_THREAD__)
  gpu.scheduler_fiber = __tsan_get_current_fiber();
#endif
  std::vector<uint32_t> blocks;
  make_order(blocks, grid.x * grid.y * grid.z, seed);
  make_order(gpu.order, threads, seed);
  for (const uint32_t b : blocks) {
    gpu.block = {b % grid.x, b / grid.x % grid.y, b / (grid.x * grid.y)};
    run_block();
  }
  gpu.current = nullptr;
}

}  // namespace emulation
