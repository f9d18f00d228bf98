/** Where fp16 results of windows are kept. */

import { join } from "node:path";
import { cacheFolder } from "@kvquant/model";

/** A folder in the user's cache. */
export function referenceFolder(): string {
  return join(cacheFolder(), "references");
}
