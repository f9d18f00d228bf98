// The instruction set among the options of a native object.
#pragma once
#include "kvquant/isa.h"
#include "node/arguments.h"

namespace kvquant::node {

inline kvq_isa isa(const Napi::Object &object) {
  const auto isa = static_cast<kvq_isa>(integer(object, "isa", KVQ_ISA_COUNT - 1));
  if (!kvq_isa_available(isa)) reject(object.Env(), std::string("isa: this CPU has no ") + kvq_isa_name(isa));
  return isa;
}

}  // namespace kvquant::node
