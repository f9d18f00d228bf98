/** A closed page of one layer. */

import type { EncodedBlock } from "@kvquant/spec";

/** Keys and values of up to 64 consecutive tokens, over all KV heads. Immutable: truncating replaces the page by one with fewer tokens. */
export interface CachePage {
  /** Position of the first token. */
  readonly start: number;
  /** Valid tokens, at most `key.tokens`; fewer after a truncation, which never re-encodes. */
  readonly tokens: number;
  readonly key: EncodedBlock;
  readonly value: EncodedBlock;
}
