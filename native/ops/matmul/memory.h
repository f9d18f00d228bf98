// Zeroed memory for packed weights.
#pragma once

#include <stddef.h>

namespace kvq::matmul {

// 64-byte aligned zeros, not yet resident where the system allows it, so that whoever fills a part also places it. Null when there is none.
void *allocate_zeros(size_t bytes);
void release_zeros(void *memory, size_t bytes);

}  // namespace kvq::matmul
