#include "cuda-node/kernel-set.h"

namespace kvquant::cuda {

namespace {

constexpr const char *kWorkNames[] = {"parameters of a call", "scores", "partial results", "arrivals", "results", "working memory of encoding"};

// The fatbin a kernel is in (native/cuda/README.md): kvq_keys_page_3_128 -> keys-page; all that is not attention is in `encode`.
std::string family_of(const std::string &kernel) {
  for (const char *family : {"keys-channel", "keys-page", "values-token", "values-rotated", "half"}) {
    std::string prefix = std::string("kvq_") + family + "_";
    for (char &letter : prefix) letter = letter == '-' ? '_' : letter;
    if (kernel.rfind(prefix, 0) == 0) return family;
  }
  return "encode";
}

}  // namespace

KernelSet::KernelSet(const std::shared_ptr<Device> &device, std::map<std::string, std::string> images) : images_(std::move(images)), stream_(Stream::create(device)) {
  const DeviceInfo &info = device->info();
  limits_ = {static_cast<uint32_t>(info.multiprocessors), static_cast<uint32_t>(info.shared_bytes_per_multiprocessor), static_cast<uint32_t>(info.shared_bytes_per_block), static_cast<uint64_t>(info.l2_bytes)};
}

const Kernel &KernelSet::kernel(const std::string &name) {
  const auto known = kernels_.find(name);
  if (known != kernels_.end()) return *known->second;
  const std::string family = family_of(name);
  std::shared_ptr<Module> &module = modules_[family];
  if (module == nullptr) {
    const auto image = images_.find(family);
    if (image == images_.end()) throw RuntimeError(KVQ_UNSUPPORTED, "kernel " + name + ": expected an image of the family " + family + ", got none; build them with \"pnpm --filter @kvquant/cuda build:kernels\"");
    module = Module::load(shared_device(), image->second.data(), image->second.size(), "kernels " + family);
  }
  return *kernels_.emplace(name, module->kernel(name)).first->second;
}

void KernelSet::launch(const kvq_cuda_launch &launch) {
  const LaunchShape shape{{launch.grid[0], launch.grid[1], launch.grid[2]}, {launch.threads, 1, 1}, launch.shared_bytes};
  stream_->launch(kernel(launch.kernel), shape, launch.parameters, launch.parameter_bytes, {});
}

const std::shared_ptr<Memory> &KernelSet::work(Work use, uint64_t bytes) {
  const auto index = static_cast<size_t>(use);
  std::shared_ptr<Memory> &memory = work_[index];
  if (memory == nullptr || memory->bytes() < bytes) {
    const uint64_t more = memory == nullptr ? bytes : std::max(bytes, memory->bytes() + memory->bytes() / 2);
    auto bigger = Memory::allocate(shared_device(), std::max<uint64_t>(more, 256), std::string(kWorkNames[index]) + ", " + std::to_string(more) + " bytes");
    if (use == Work::kArrivals) stream_->fill(bigger, 0, 0, bigger->bytes());
    work_bytes_ += bigger->bytes() - (memory == nullptr ? 0 : memory->bytes());
    memory = std::move(bigger);
  }
  return memory;
}

void KernelSet::forget_arrivals() {
  std::shared_ptr<Memory> &memory = work_[static_cast<size_t>(Work::kArrivals)];
  if (memory == nullptr) return;
  work_bytes_ -= memory->bytes();
  memory.reset();
}

}  // namespace kvquant::cuda
