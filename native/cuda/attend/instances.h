// The bits and head dims that kernels are compiled for. A file defines KVQ_INSTANCE(bits, head_dim) and then writes KVQ_EACH_INSTANCE.
// -DKVQ_SUBSET keeps a set that spans all widths and head dims, for quick checks.
#pragma once

#if defined(KVQ_SUBSET) && KVQ_SUBSET == 2 // what the bench times
#define KVQ_EACH_BITS(head_dim) KVQ_INSTANCE(2, head_dim) KVQ_INSTANCE(3, head_dim) KVQ_INSTANCE(4, head_dim)
#define KVQ_EACH_INSTANCE KVQ_EACH_BITS(64) KVQ_EACH_BITS(128) KVQ_INSTANCE(5, 128) KVQ_INSTANCE(4, 256)
#elif defined(KVQ_SUBSET) && KVQ_SUBSET == 3 // the smallest: for the thread sanitizer
#define KVQ_EACH_INSTANCE KVQ_INSTANCE(2, 64)
#elif defined(KVQ_SUBSET)
#define KVQ_EACH_INSTANCE KVQ_INSTANCE(2, 64) KVQ_INSTANCE(3, 128) KVQ_INSTANCE(4, 128) KVQ_INSTANCE(5, 64) KVQ_INSTANCE(4, 256)
#else
#define KVQ_EACH_BITS(head_dim) KVQ_INSTANCE(2, head_dim) KVQ_INSTANCE(3, head_dim) KVQ_INSTANCE(4, head_dim) KVQ_INSTANCE(5, head_dim)
#define KVQ_EACH_INSTANCE KVQ_EACH_BITS(64) KVQ_EACH_BITS(128) KVQ_EACH_BITS(256)
#endif
