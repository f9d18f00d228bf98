// Kernels loaded from a fatbin, cubin or PTX text.
#pragma once
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "cuda-node/device.h"

namespace kvquant::cuda {

struct KernelResources {
  int registers, local_bytes, shared_bytes;
};

// One kernel of a module, which it keeps loaded.
class Kernel {
 public:
  Kernel(std::shared_ptr<class Module> module, std::string name, FunctionHandle handle) : module_(std::move(module)), name_(std::move(name)), handle_(handle) {}
  const std::string &name() const { return name_; }
  FunctionHandle handle() const { return handle_; }
  KernelResources resources() const;

 private:
  std::shared_ptr<class Module> module_;
  std::string name_;
  FunctionHandle handle_;
};

class Module : public std::enable_shared_from_this<Module> {
 public:
  // `label` says in errors what is loaded. UNSUPPORTED when it holds nothing for this device.
  static std::shared_ptr<Module> load(const std::shared_ptr<Device> &device, const void *image, size_t bytes, const std::string &label);
  ~Module();
  Module(const Module &) = delete;
  Module &operator=(const Module &) = delete;

  Device &device() const { return *device_; }
  const std::shared_ptr<Device> &shared_device() const { return device_; }
  // UNSUPPORTED when the module has no such kernel.
  std::shared_ptr<Kernel> kernel(const std::string &name);

 private:
  Module(std::shared_ptr<Device> device, ModuleHandle handle, std::string label) : device_(std::move(device)), handle_(handle), label_(std::move(label)) {}

  std::shared_ptr<Device> device_;
  ModuleHandle handle_;
  std::string label_;
};

}  // namespace kvquant::cuda
