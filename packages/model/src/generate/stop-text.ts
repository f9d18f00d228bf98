/** Finds stop strings in streamed text, holding back what may still become one. */

/** Text that may be shown, and whether a stop string ended it. */
export interface StopResult {
  readonly text: string;
  readonly stopped: boolean;
}

/** Watches a stream of text pieces for stop strings. */
export class StopText {
  readonly #stops: readonly string[];
  #held = "";

  constructor(stops: readonly string[]) {
    this.#stops = stops.filter((stop) => stop.length > 0);
  }

  /** Adds a piece; returns what is now certain not to belong to a stop string. */
  push(piece: string): StopResult {
    this.#held += piece;
    const positions = this.#stops.map((stop) => this.#held.indexOf(stop)).filter((position) => position >= 0);
    if (positions.length > 0) {
      const text = this.#held.slice(0, Math.min(...positions));
      this.#held = "";
      return { text, stopped: true };
    }
    const certain = this.#held.length - this.#longestOpening();
    const text = this.#held.slice(0, certain);
    this.#held = this.#held.slice(certain);
    return { text, stopped: false };
  }

  /** Adds the last piece; what was held back comes with it. */
  end(piece: string): StopResult {
    const { text, stopped } = this.push(piece);
    const held = this.#held;
    this.#held = "";
    return { text: text + held, stopped };
  }

  /** Length of the longest end of the held text that some stop string begins with. */
  #longestOpening(): number {
    let longest = 0;
    for (const stop of this.#stops) {
      for (let length = Math.min(stop.length - 1, this.#held.length); length > longest; length--) {
        if (stop.startsWith(this.#held.slice(-length))) longest = length;
      }
    }
    return longest;
  }
}
