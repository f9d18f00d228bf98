// Reads one attention of a layer from JavaScript.
#pragma once
#include <napi.h>

#include "cuda-node/layer-mirror.h"

namespace kvquant::cuda {

// { pages, starts, tokens, length, rows, columns, queries, queryColumns, first, visible, out }; `held` gets what the call points into.
// Throws INVALID_ARGUMENT for wrong types, and lengths that do not fit the numbers given.
AttendCall read_attend_request(const Napi::Object &options, std::vector<Napi::Object> &held);

}  // namespace kvquant::cuda
