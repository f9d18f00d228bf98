/** Tokens from the most likely down, sorted only as far as somebody looks. */

/** Buckets of equal width in score; the likeliest ones hold few tokens each. */
const BUCKETS = 4096;
/** Scores this far below the best share the last bucket: their weight is below e^-64 at temperature 1. */
const DEPTH = 64;

/** Ids of an array of scores in the order of falling score, ties to the lower id. */
export class Ranking {
  readonly #scores: Float32Array;
  /** Ids by bucket; those before `#sorted` are in their final order. */
  readonly #ids: Uint32Array;
  /** First index of each bucket, and the end. */
  readonly #starts: Uint32Array;
  #sorted = 0;
  #nextBucket = 0;

  constructor(scores: Float32Array) {
    this.#scores = scores;
    let maximum = -Infinity;
    let minimum = Infinity;
    for (let id = 0; id < scores.length; id++) {
      const score = scores[id]!;
      if (score > maximum) maximum = score;
      if (score < minimum) minimum = score;
    }
    const range = Math.min(DEPTH, maximum - minimum);
    const scale = range > 0 ? (BUCKETS - 1) / range : 0;
    const buckets = new Uint16Array(scores.length);
    const starts = new Uint32Array(BUCKETS + 1);
    for (let id = 0; id < scores.length; id++) {
      // Falling scores give rising buckets: rounding keeps the order.
      const bucket = scale === 0 ? 0 : Math.min(BUCKETS - 1, (maximum - scores[id]!) * scale) >>> 0;
      buckets[id] = bucket;
      starts[bucket + 1]!++;
    }
    for (let bucket = 0; bucket < BUCKETS; bucket++) starts[bucket + 1]! += starts[bucket]!;
    const next = starts.slice(0, BUCKETS);
    this.#ids = new Uint32Array(scores.length);
    for (let id = 0; id < scores.length; id++) this.#ids[next[buckets[id]!]!++] = id;
    this.#starts = starts;
  }

  /** Id of the token at `place`, 0 the most likely. */
  token(place: number): number {
    while (place >= this.#sorted) {
      const end = this.#starts[this.#nextBucket + 1]!;
      const scores = this.#scores;
      if (end - this.#sorted > 1) this.#ids.subarray(this.#sorted, end).sort((a, b) => scores[b]! - scores[a]! || a - b);
      this.#sorted = end;
      this.#nextBucket++;
    }
    return this.#ids[place]!;
  }
}
