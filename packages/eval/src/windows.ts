/** Cuts the tokens of a text into windows of fixed length. */

import { check, checkInteger } from "@kvquant/spec";

/** How a text is cut. */
export interface WindowOptions {
  /** Tokens of a window, the beginning-of-text token included; at least 2. */
  readonly length: number;
  /** At most this many windows, from the start of the text; default all that fit. */
  readonly count?: number | undefined;
  /**
   * Beginning-of-text token put in front of every window, for models whose tokenizer adds one: it is the window's first position, so
   * the attention sink. One that the text already starts with is not doubled.
   */
  readonly bos?: number | undefined;
}

/**
 * Neighbouring windows `[length]` without overlap; what is left over at the end is not used.
 * In each, every position after the first is scored: `length - 1` tokens.
 * @throws INVALID_ARGUMENT for a text that does not fill one window, with both counts
 */
export function cutWindows(tokens: ArrayLike<number>, options: WindowOptions): Int32Array[] {
  const { length, bos } = options;
  checkInteger("window length", length, { minimum: 2 });
  if (options.count !== undefined) checkInteger("windows", options.count, { minimum: 1 });
  const first = bos !== undefined && tokens[0] === bos ? 1 : 0;
  const stride = bos === undefined ? length : length - 1;
  const available = tokens.length - first;
  const front = bos === undefined ? "" : " after the beginning-of-text token";
  check(available >= stride, "text", `at least ${stride} tokens${front}, which fill one window of ${length}`, `${available}; use a longer text or a shorter window`);
  const count = Math.min(options.count ?? Infinity, Math.floor(available / stride));
  return Array.from({ length: count }, (_, index) => {
    const window = new Int32Array(length);
    let target = 0;
    if (bos !== undefined) window[target++] = bos;
    for (let source = first + index * stride; target < length; source++) window[target++] = tokens[source]!;
    return window;
  });
}
