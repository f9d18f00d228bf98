/* What every fallible call of the native library returns. No call prints, exits or throws. */
#ifndef KVQUANT_STATUS_H
#define KVQUANT_STATUS_H

typedef enum kvq_status {
  KVQ_OK = 0,
  KVQ_INVALID_ARGUMENT,
  KVQ_UNSUPPORTED,
  KVQ_OUT_OF_CAPACITY, /* memory could not be allocated */
  KVQ_CORRUPT_DATA,
  KVQ_DISPOSED,   /* used after it was released */
  KVQ_UNAVAILABLE /* no driver or device, or one that stopped working */
} kvq_status;

#endif
