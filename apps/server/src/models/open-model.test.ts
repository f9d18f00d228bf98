import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { startTinyServer } from "../fixtures/tiny-server.js";

it("refuses a context that the model's angles do not reach, instead of answering beyond it", async () => {
  await expect(startTinyServer({ cache: "fp16", context: 2049 })).rejects.toMatchObject({ code: "INVALID_ARGUMENT", message: expect.stringMatching(/at most 2048 tokens.*got 2049/) as string });
  const server = await startTinyServer({ cache: "fp16", context: 2048 });
  expect((await server.post("/v1/completions", { model: "tiny", prompt: "Once", max_tokens: 1 })).status).toBe(200);
  await server.close();
});

it("refuses a chat template that fails, before it serves anything", async () => {
  const path = join(mkdtempSync(join(tmpdir(), "kvquant-template-")), "template.jinja");
  writeFileSync(path, "{% for message in messages %}{{ raise_exception('no ' + message['role']) }}{% endfor %}");
  await expect(startTinyServer({ cache: "fp16", chatTemplate: path })).rejects.toMatchObject({ code: "UNSUPPORTED", message: expect.stringContaining("no user") as string });
  await expect(startTinyServer({ cache: "fp16", chatTemplate: `${path}.none` })).rejects.toMatchObject({ code: "IO_ERROR" });
});
