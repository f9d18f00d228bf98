// The kernels of a device by name, a stream, and working memory that grows: what attention runs on. One call at a time.
#pragma once
#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "cuda-node/stream.h"
#include "cuda/common/launch.h"

namespace kvquant::cuda {

// Working memory by use.
enum class Work { kCall, kScores, kPartials, kArrivals, kOut, kScratch, kCount };

class KernelSet {
 public:
  // `images`: a fatbin for each family (`keys-page`, ...), loaded when first needed.
  KernelSet(const std::shared_ptr<Device> &device, std::map<std::string, std::string> images);

  Device &device() const { return stream_->device(); }
  const std::shared_ptr<Device> &shared_device() const { return stream_->shared_device(); }
  Stream &stream() { return *stream_; }
  // What plans read off the device.
  const kvq_cuda_device &limits() const { return limits_; }
  // Held by whoever uses the stream or the working memory.
  std::mutex &mutex() { return mutex_; }

  // UNSUPPORTED when no family has it.
  const Kernel &kernel(const std::string &name);
  // Memory that kernels use may be released at any time: the pool keeps it apart until the work in flight has ended.
  void launch(const kvq_cuda_launch &launch);
  // At least `bytes` bytes; growing forgets the contents. Arrivals are zero when they are handed out.
  const std::shared_ptr<Memory> &work(Work use, uint64_t bytes);
  // For any thread, without the mutex.
  uint64_t work_bytes() const { return work_bytes_.load(); }
  // After a failure nothing is known of what kernels left behind.
  void forget_arrivals();

 private:
  std::map<std::string, std::string> images_;
  std::map<std::string, std::shared_ptr<Module>> modules_;
  std::map<std::string, std::shared_ptr<Kernel>> kernels_;
  std::shared_ptr<Stream> stream_;
  kvq_cuda_device limits_;
  std::mutex mutex_;
  std::shared_ptr<Memory> work_[static_cast<size_t>(Work::kCount)];
  std::atomic<uint64_t> work_bytes_{0}; // of work_
};

}  // namespace kvquant::cuda
