// The one exception of the runtime; the addon turns it into a KvquantError. Never crosses a C ABI.
#pragma once
#include <stdexcept>
#include <string>

#include "kvquant/status.h"

namespace kvquant {

class RuntimeError : public std::runtime_error {
 public:
  RuntimeError(kvq_status status, const std::string &message) : std::runtime_error(message), status_(status) {}
  kvq_status status() const { return status_; }

 private:
  kvq_status status_;
};

// The caller asked for the work to end.
struct Cancelled : std::exception {};

// Throws unless `status` is KVQ_OK.
inline void require(kvq_status status, const char *what) {
  if (status != KVQ_OK) throw RuntimeError(status, what);
}

}  // namespace kvquant
