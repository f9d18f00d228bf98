#include "runtime/thread-pool.h"

#include <string>

#include "runtime/runtime-error.h"

namespace kvquant {

namespace {

constexpr uint64_t kIndexBits = 20;
constexpr uint64_t kIndexMask = (uint64_t{1} << kIndexBits) - 1;
// Pauses before a worker sleeps: longer than the serial parts of a decode step, short enough not to be felt.
constexpr int kPausesBeforeSleep = 1500;
// Pauses before the caller yields to a worker that holds the last chunk.
constexpr int kPausesBeforeYield = 200;

void pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

ThreadPool::ThreadPool(unsigned threads) : threads_(threads < 1 ? 1 : threads) {
  try {
    for (unsigned worker = 1; worker < threads_; worker++) workers_.emplace_back([this, worker] { work(worker); });
  } catch (const std::exception &error) {
    // Threads that are destroyed while they run would end the process.
    const size_t started = workers_.size() + 1;
    stop();
    throw RuntimeError(KVQ_OUT_OF_CAPACITY, "threads: expected " + std::to_string(threads_) + " threads, the system gave " + std::to_string(started) + " (" + error.what() + "); ask for fewer");
  }
}

void ThreadPool::stop() {
  stopping_.store(true);
  generation_.fetch_add(1);
  generation_.notify_all();
  for (std::thread &worker : workers_) worker.join();
}

void ThreadPool::share(size_t count, Call call, const void *context) {
  call_ = call;
  context_ = context;
  done_.store(0, std::memory_order_relaxed);
  const uint32_t generation = generation_.load(std::memory_order_relaxed) + 1;
  ticket_.store(uint64_t{generation} << (2 * kIndexBits) | uint64_t{count} << kIndexBits, std::memory_order_release);
  generation_.store(generation, std::memory_order_release);
  generation_.notify_all();
  while (claim(0)) {
  }
  for (int pauses = 0; done_.load(std::memory_order_acquire) != count; pauses++) {
    if (pauses < kPausesBeforeYield) pause();
    else std::this_thread::yield();
  }
}

bool ThreadPool::claim(unsigned worker) {
  uint64_t ticket = ticket_.load(std::memory_order_acquire);
  while ((ticket & kIndexMask) < (ticket >> kIndexBits & kIndexMask)) {
    if (!ticket_.compare_exchange_weak(ticket, ticket + 1, std::memory_order_acq_rel, std::memory_order_acquire)) continue;
    call_(context_, ticket & kIndexMask, worker);
    done_.fetch_add(1, std::memory_order_release);
    return true;
  }
  return false;
}

void ThreadPool::work(unsigned worker) {
  uint32_t seen = 0;
  while (true) {
    for (int pauses = 0; pauses < kPausesBeforeSleep && generation_.load(std::memory_order_acquire) == seen; pauses++) pause();
    generation_.wait(seen, std::memory_order_acquire);
    seen = generation_.load(std::memory_order_acquire);
    if (stopping_.load(std::memory_order_acquire)) return;
    while (claim(worker)) {
    }
  }
}

}  // namespace kvquant
