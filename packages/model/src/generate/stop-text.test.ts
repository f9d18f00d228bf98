import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { StopText } from "./stop-text.js";

/** Streams the pieces and returns what was shown. */
function stream(pieces: readonly string[], stops: readonly string[]): { text: string; stopped: boolean } {
  const watcher = new StopText(stops);
  let text = "";
  for (const piece of pieces) {
    const result = watcher.push(piece);
    text += result.text;
    if (result.stopped) return { text, stopped: true };
  }
  return { text: text + watcher.end("").text, stopped: false };
}

describe("StopText", () => {
  it("ends the text before a stop string that is spread over pieces", () => {
    expect(stream(["Hello", " wor", "ld\n", "\nUser", ": hi"], ["\n\nUser:"])).toEqual({ text: "Hello world", stopped: true });
  });

  it("shows what only looked like the beginning of a stop string", () => {
    expect(stream(["a\n", "b\n", "\nc"], ["\n\n\n"])).toEqual({ text: "a\nb\n\nc", stopped: false });
  });

  it("finds a stop string that only the last piece completes, and gives back what was held otherwise", () => {
    const stopped = new StopText(["ab"]);
    expect([stopped.push("xa"), stopped.end("bc")]).toEqual([{ text: "x", stopped: false }, { text: "", stopped: true }]);
    const whole = new StopText(["ab"]);
    expect([whole.push("xa"), whole.end("c")]).toEqual([{ text: "x", stopped: false }, { text: "ac", stopped: false }]);
  });

  it("shows the same text however it is cut into pieces", () => {
    const letters = fc.string({ unit: fc.constantFrom("a", "b"), maxLength: 30 });
    fc.assert(
      fc.property(letters, fc.array(fc.string({ unit: fc.constantFrom("a", "b"), minLength: 1, maxLength: 4 }), { maxLength: 3 }), fc.infiniteStream(fc.integer({ min: 1, max: 5 })), (text, stops, cuts) => {
        const pieces: string[] = [];
        let start = 0;
        while (start < text.length) {
          const size = cuts.next().value as number;
          pieces.push(text.slice(start, start + size));
          start += size;
        }
        const first = stops.map((stop) => text.indexOf(stop)).filter((position) => position >= 0);
        const shown = stream(pieces, stops);
        // A stop that becomes complete earlier wins even if another begins before it; both begin at or after the earliest.
        expect(text.startsWith(shown.text)).toBe(true);
        expect(shown.stopped).toBe(first.length > 0);
        if (first.length === 0) expect(shown.text).toBe(text);
        else expect(shown.text.length).toBeGreaterThanOrEqual(Math.min(...first));
        if (stops.length === 1 && first.length > 0) expect(shown.text.length).toBe(first[0]);
      }),
    );
  });
});
