import { expect, it } from "vitest";

import { createServingEngine } from "./create-serving-engine.js";
import { collect, content, sampled, useTiny } from "./fixtures/tiny.js";

const tiny = useTiny();

it("leaves no more and no less than it computed when a request is cancelled just as its step ends", async () => {
  const request = sampled(tiny.text(0, 208), 3, { maxTokens: 24 });
  const options = { model: tiny.model, artifact: tiny.artifact, cacheBytes: 64 << 20, stepTokens: 48, maxSequences: 4, snapshotTokens: 64 };
  await using fresh = createServingEngine({ ...options, prefixReuse: false });
  const expected = content(await collect(fresh.submit(request)));
  for (const cancelAt of [1, 2, 3, 4, 5, 6, 7, 8]) {
    const controller = new AbortController();
    let steps = 0;
    // Told between the end of a step and the handing out of its results.
    await using engine = createServingEngine({ ...options, onEvent: ({ type }) => type === "step" && ++steps === cancelAt && controller.abort() });
    await expect(collect(engine.submit({ ...request, signal: controller.signal }))).rejects.toMatchObject({ code: "CANCELLED" });
    const again = await collect(engine.submit(request));
    expect(content(again)).toEqual(expected);
  }
});
