// Outliers of pages for the fast AVX-512 kernels.
#pragma once

#include "ops/attend-pages/attend-pages.h"

namespace kvq::avx512 {

// Queries of a call in the order the entries read them: outlier_queries [group / 8][pair][re, im][8].
void lay_out_queries(const kvq_attention_tables *tables, workspace &work);
// added [group rounded up to 8][64]: parts of a page's scores. The query's angles (cosine, sine) are those of the page.
void score_outliers(const kvq_attention_tables *tables, uint32_t head, workspace &work, const kvq_page_view &page);
// Adds weight * difference to sum.
void add_value_outliers(const kvq_attention_tables *tables, uint32_t head, workspace &work, page_run run);

}  // namespace kvq::avx512
