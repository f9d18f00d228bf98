/** Keeps the largest of a stream of keys in a fixed number of slots. */

/** Grown when needed and shared by all calls: selections run for each token and never nest. */
let heapKeys = new Float64Array(64);
let heapIndices = new Uint32Array(64);
let held = 0;
let limit = 0;

/** Starts an empty selection of at most `slots` entries, `slots` at least 1. */
export function startLargest(slots: number): void {
  if (heapKeys.length < slots) {
    heapKeys = new Float64Array(slots * 2);
    heapIndices = new Uint32Array(slots * 2);
  }
  held = 0;
  limit = slots;
}

/**
 * Offers an entry, in order of rising index, and returns the key that the next entry must exceed to be kept
 * (-Infinity while slots are free). A later entry with the same key never replaces an earlier one: ties keep the lower index.
 */
export function offerLargest(key: number, index: number): number {
  if (held < limit) siftUp(key, index);
  else if (key > heapKeys[0]!) siftDown(key, index);
  return held < limit ? Number.NEGATIVE_INFINITY : heapKeys[0]!;
}

/** Number of entries kept so far. */
export function countLargest(): number {
  return held;
}

/** Writes the kept indices into `out` in ascending order; `out` has the length `countLargest()`. */
export function writeLargest(out: Uint32Array): void {
  for (let slot = 0; slot < held; slot++) out[slot] = heapIndices[slot]!;
  out.sort();
}

/** True when slot a must leave before slot b: a smaller key, or the same key and a higher index. */
function isWorse(keyA: number, indexA: number, keyB: number, indexB: number): boolean {
  return keyA < keyB || (keyA === keyB && indexA > indexB);
}

function siftUp(key: number, index: number): void {
  let slot = held++;
  while (slot > 0) {
    const parent = (slot - 1) >> 1;
    if (!isWorse(key, index, heapKeys[parent]!, heapIndices[parent]!)) break;
    heapKeys[slot] = heapKeys[parent]!;
    heapIndices[slot] = heapIndices[parent]!;
    slot = parent;
  }
  heapKeys[slot] = key;
  heapIndices[slot] = index;
}

/** Replaces the root, which is the worst entry. */
function siftDown(key: number, index: number): void {
  let slot = 0;
  for (;;) {
    let child = 2 * slot + 1;
    if (child >= held) break;
    const right = child + 1;
    if (right < held && isWorse(heapKeys[right]!, heapIndices[right]!, heapKeys[child]!, heapIndices[child]!)) child = right;
    if (!isWorse(heapKeys[child]!, heapIndices[child]!, key, index)) break;
    heapKeys[slot] = heapKeys[child]!;
    heapIndices[slot] = heapIndices[child]!;
    slot = child;
  }
  heapKeys[slot] = key;
  heapIndices[slot] = index;
}
