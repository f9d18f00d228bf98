/** How deep a value is nested. */

/** Levels that a request may have: schemas of tools have some dozens, and what walks them by recursion must not run out of stack. */
export const mostLevels = 128;

/** Whether lists and objects lie in each other more than `levels` deep. Walks without recursion, and no further than it must. */
export function isDeeper(value: unknown, levels = mostLevels): boolean {
  let level: unknown[] = [value];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > levels) return true;
    const next: unknown[] = [];
    for (const entry of level) {
      if (typeof entry !== "object" || entry === null) continue;
      for (const inner of Array.isArray(entry) ? entry : Object.values(entry)) if (typeof inner === "object" && inner !== null) next.push(inner);
    }
    level = next;
  }
  return false;
}
