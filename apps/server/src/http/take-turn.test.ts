import { describe, expect, it } from "vitest";
import { takeTurn } from "./take-turn.js";

describe("takeTurn", () => {
  it("keeps the order and lets the event loop turn between two pieces of work, also after a failure", async () => {
    const seen: string[] = [];
    const works = ["a", "b", "c"].map((name) =>
      takeTurn(() => {
        seen.push(name);
        setImmediate(() => seen.push(`turn after ${name}`));
        if (name === "a") throw new Error("a failed");
        return name;
      }),
    );
    const results = await Promise.allSettled(works);
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(results.map(({ status }) => status)).toEqual(["rejected", "fulfilled", "fulfilled"]);
    expect(seen).toEqual(["a", "turn after a", "b", "turn after b", "c", "turn after c"]);
  });
});
