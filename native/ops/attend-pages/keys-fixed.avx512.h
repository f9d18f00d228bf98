// Fixed point scores of pages (AVX-512).
#pragma once

#include "ops/attend-pages/avx512.h"

#include "ops/attend-pages/page-codes.h"

namespace kvq::avx512 {
void fixed_scores(const kvq_attention_tables *tables, uint32_t head, workspace &work, page_run run);
void fixed_values(const kvq_attention_tables *tables, uint32_t head, workspace &work, page_run run);
}  // namespace kvq::avx512
