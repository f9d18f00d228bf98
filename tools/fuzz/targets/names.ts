/** Names and numbers of the command line that are parsed by hand. */

import { parsePreset } from "@kvquant/quant";
import { parseCacheChoices, plannedBits } from "../../../packages/artifacts/src/cache-choice.js";
import { integersFrom, numberWithin } from "../../../apps/cli/src/options.js";
import { parseBytes, parseTokens } from "../../../apps/cli/src/commands/plan-sizes.js";
import { parseBytes as parseConfiguredBytes } from "../../../apps/server/src/configuration/byte-size.js";
import { obey } from "../law.js";

export const words = ["kvq:", "kvq:2.5", "nuq3-1%", "fp16", ".kvq", ",", "KiB", "GiB", "256k", "1M"];

export function seeds(): Uint8Array[] {
  return ["kvq4,fp16,nuq3-1%,kvq:2.5,./plan.kvq", "24GiB", "256k", "1,2,3", "0.5", "keys-token-post:4", "512 MiB"].map((text) => new TextEncoder().encode(text));
}

export function fuzz(data: Uint8Array): void {
  const text = new TextDecoder().decode(data);
  const parsers: ((given: string) => unknown)[] = [parseCacheChoices, parsePreset, plannedBits, parseTokens, parseBytes, parseConfiguredBytes, integersFrom(1), numberWithin({ minimum: 0, maximum: 1 })];
  for (const parse of parsers) obey(data.length, () => void refused(() => parse(text)));
}

/** commander shows these to the user as a wrong command line. */
function refused(parse: () => unknown): void {
  try {
    parse();
  } catch (error) {
    if ((error as { code?: string }).code !== "commander.invalidArgument") throw error;
  }
}
