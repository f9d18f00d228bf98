/** Coders: levels fitted to data, or even ones. */

import { check, KvquantError } from "@kvquant/spec";
import { fitOnGrid, midpoints, nearestCode, uniformLevels } from "@kvquant/codebook";
import type { Bits } from "@kvquant/spec";
import { parameter } from "./parameters.js";
import type { Coder, FitContext, Parameters } from "./stage.js";

/**
 * 2^bits levels on the grid k/127 fitted to the calibration data, weights F * s^2 (KVQuant section 3.3).
 * `fit` throws UNSUPPORTED when the stages before leave data whose distribution the statistics do not know.
 */
export function nonUniform({ bits }: { readonly bits: Bits }): Coder {
  check(bits <= 5, "nonUniform: bits", "1 to 5", bits);
  return levelCoder("kvquant/non-uniform", bits, ({ histogram }) => {
    if (histogram === undefined) throw new KvquantError("UNSUPPORTED", "nonUniform: expected data whose distribution calibration knows (keys normalised by channel, values by token, no rotation), got other stages; use uniform");
    return fitOnGrid(histogram.weighted, 2 ** bits);
  });
}

/** 2^bits even levels from -1 to 1. */
export function uniform({ bits }: { readonly bits: Bits }): Coder {
  return levelCoder("kvquant/uniform", bits, () => uniformLevels(bits));
}

function levelCoder(id: string, bits: Bits, makeLevels: (context: FitContext) => Float32Array): Coder {
  return {
    specVersion: 1,
    id,
    bits,
    fit: (context) => ({ levels: makeLevels(context) }),
    encode(x, codes, parameters) {
      const middles = midpoints(levelsOf(parameters, bits));
      for (let index = 0; index < x.length; index++) codes[index] = nearestCode(middles, x[index]!);
    },
    decode(codes, x, parameters) {
      const levels = levelsOf(parameters, bits);
      for (let index = 0; index < codes.length; index++) x[index] = levels[codes[index]!]!;
    },
  };
}

function levelsOf(parameters: Parameters, bits: Bits): Float32Array {
  return parameter(parameters, "levels", 2 ** bits);
}
