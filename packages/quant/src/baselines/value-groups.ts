/** Which values of a page share one scale. */

import { check, checkInteger, PAGE_TOKENS } from "@kvquant/spec";
import type { Axis } from "@kvquant/spec";
import { corrupt, artifactArray } from "../corrupt.js";
import type { QuantizerArtifact } from "@kvquant/spec";
import type { Geometry } from "../geometry.js";

/** Groups of values: `token` joins neighbouring channels of one token and head, `channel` neighbouring tokens of one channel. */
export interface Grouping {
  readonly axis: Axis;
  /** Values of a group; those at the end of a head or page may be fewer. Default: the whole head or page. */
  readonly group?: number | undefined;
}

/** A run of values of a page: `count` of them from index `start`, `stride` apart. */
export type VisitGroup = (group: number, start: number, stride: number, count: number) => void;

/** The groups of pages of one layer. */
export interface ValueGroups {
  /** Groups of a page of `tokens` tokens. */
  count(tokens: number): number;
  /** Calls `visit` for each group in order: token after token and head after head, or group of tokens after group and channel after channel. */
  each(tokens: number, visit: VisitGroup): void;
}

/** Throws INVALID_ARGUMENT for a grouping that no page has. */
export function checkGrouping(what: string, { axis, group }: Grouping): void {
  check(axis === "token" || axis === "channel", `${what}: axis`, "token or channel", axis);
  if (group !== undefined) checkInteger(`${what}: group`, group, { minimum: 2, maximum: axis === "channel" ? PAGE_TOKENS : 65536 });
}

/** A grouping as artifact arrays: `grouping` = [0 for token or 1 for channel, values of a group or 0 for all]. */
export function encodeGrouping({ axis, group = 0 }: Grouping): Record<"grouping", Float32Array> {
  return { grouping: Float32Array.of(axis === "token" ? 0 : 1, group) };
}

/**
 * Reads what `encodeGrouping` wrote.
 * @throws CORRUPT_DATA
 */
export function decodeGrouping(artifact: QuantizerArtifact): Grouping {
  const [axis, group] = artifactArray(artifact, "grouping", 2);
  const grouping: Grouping = { axis: axis === 0 ? "token" : "channel", group: group === 0 ? undefined : group };
  try {
    check(axis === 0 || axis === 1, "grouping", "axis 0 or 1", axis);
    checkGrouping("grouping", grouping);
  } catch (error) {
    throw corrupt(`artifact ${artifact.id}: grouping`, "an axis and a group size", [axis, group], error);
  }
  return grouping;
}

/** How a grouping is written in the stages of an artifact, such as `token/32`. */
export function describeGrouping({ axis, group }: Grouping): string {
  return group === undefined ? axis : `${axis}/${group}`;
}

/** Lays groups out over a layer. */
export function valueGroups({ axis, group }: Grouping, { kvHeads, headDim }: Geometry): ValueGroups {
  const columns = kvHeads * headDim;
  if (axis === "channel") {
    const size = group ?? PAGE_TOKENS;
    return {
      count: (tokens) => Math.ceil(tokens / size) * columns,
      each(tokens, visit) {
        for (let first = 0, index = 0; first < tokens; first += size) {
          for (let column = 0; column < columns; column++) visit(index++, first * columns + column, columns, Math.min(size, tokens - first));
        }
      },
    };
  }
  const size = Math.min(group ?? headDim, headDim);
  return {
    count: (tokens) => tokens * kvHeads * Math.ceil(headDim / size),
    each(tokens, visit) {
      for (let start = 0, index = 0; start < tokens * columns; start += headDim) {
        for (let channel = 0; channel < headDim; channel += size) visit(index++, start + channel, 1, Math.min(size, headDim - channel));
      }
    },
  };
}
