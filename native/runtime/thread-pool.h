// A few persistent threads that share out the chunks of one job at a time. The caller claims chunks itself, so a job ends even if no worker ever runs; it waits only for
// chunks that a worker has already claimed. Workers look for the next job for about 20 microseconds, then sleep.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <vector>

namespace kvquant {

class ThreadPool {
 public:
  // `threads` including the caller, at least 1. OUT_OF_CAPACITY when the system gives fewer.
  explicit ThreadPool(unsigned threads);
  ~ThreadPool() { stop(); }
  ThreadPool(const ThreadPool &) = delete;
  ThreadPool &operator=(const ThreadPool &) = delete;

  unsigned threads() const { return threads_; }

  // Calls task(index, worker) for every index below `count` (at most 2^20 - 1), worker < threads(), the caller being worker 0. One caller at a time. Tasks do not throw.
  template <class Task>
  void run(size_t count, const Task &task) {
    if (threads_ == 1 || count <= 1) {
      for (size_t index = 0; index < count; index++) task(index, 0u);
      return;
    }
    share(count, [](const void *context, size_t index, unsigned worker) { (*static_cast<const Task *>(context))(index, worker); }, &task);
  }

 private:
  using Call = void (*)(const void *context, size_t index, unsigned worker);

  void share(size_t count, Call call, const void *context);
  bool claim(unsigned worker);
  void work(unsigned worker);
  void stop();

  unsigned threads_;
  std::vector<std::thread> workers_;
  Call call_ = nullptr;
  const void *context_ = nullptr;
  // generation (24 bits) | count (20) | next index (20): a claim is one compare-and-swap, and a late worker cannot claim from a job that is over.
  alignas(64) std::atomic<uint64_t> ticket_{0};
  alignas(64) std::atomic<uint32_t> generation_{0};
  alignas(64) std::atomic<size_t> done_{0};
  std::atomic<bool> stopping_{false};
};

}  // namespace kvquant
