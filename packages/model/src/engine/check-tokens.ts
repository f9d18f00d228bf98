/** Check of the tokens of a forward pass. */

import { check, checkInteger } from "@kvquant/spec";

/** Throws INVALID_ARGUMENT unless there is at least one token and all are in the vocabulary. */
export function checkTokens(tokens: ArrayLike<number>, vocabulary: number): void {
  check(tokens.length > 0, "forward", "at least one token", "none");
  for (let index = 0; index < tokens.length; index++) {
    checkInteger(`forward: token ${index}`, tokens[index]!, { minimum: 0, maximum: vocabulary - 1 });
  }
}
