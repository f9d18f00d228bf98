// Attention of several sequences over one layer in the same launches: a decode step of a batch, the queries of a prompt, or both.
#pragma once
#include <exception>
#include <memory>
#include <vector>

#include "cuda-node/layer-mirror.h"

namespace kvquant::cuda {

// A call of one sequence, and what became of it.
struct SequenceAttention {
  std::shared_ptr<LayerMirror> mirror;
  AttendCall call;
  std::exception_ptr failure; // null: `call.out` is written
};

// Answers every call; the mirrors are different ones of layer `layer` of `tables`. What is wrong with one call fails that call alone, a failing launch or copy fails all that are left.
// The mirror of a failed call keeps the pages that were uploaded and uploads its exact tokens anew.
void attend_together(CacheTables &tables, size_t layer, std::vector<SequenceAttention> &sequences);

}  // namespace kvquant::cuda
