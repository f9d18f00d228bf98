import { truncateSync, writeFileSync } from "node:fs";
import type * as fs from "node:fs";
import { join } from "node:path";
import { afterEach, expect, onTestFinished, test, vi } from "vitest";
import { readGguf } from "../gguf/read-gguf.js";
import { smallModel } from "../gguf/fixtures/small-model.js";
import { writeGguf } from "../gguf/fixtures/write-gguf.js";
import { openByteSource } from "./byte-source.js";
import { temporaryFolder } from "./fixtures/temporary-folder.js";
import { openModelFile } from "./open-model-file.js";

/** What `readSync` does: read, read at most 5 bytes at once, or fail as a broken disk does. */
const disk = vi.hoisted((): { state: "whole" | "short" | "broken" } => ({ state: "whole" }));

vi.mock("node:fs", async (importOriginal) => {
  const original = await importOriginal<typeof fs>();
  const readSync = (handle: number, target: Uint8Array, offset: number, length: number, position: number): number => {
    if (disk.state === "broken") throw Object.assign(new Error("EIO: i/o error, read"), { code: "EIO", errno: -5 });
    return original.readSync(handle, target, offset, disk.state === "short" ? Math.min(length, 5) : length, position);
  };
  return { ...original, readSync };
});

afterEach(() => {
  disk.state = "whole";
});

const broken = expect.objectContaining({ code: "IO_ERROR", message: expect.stringMatching(/model\.gguf.*EIO/) as string }) as Error;

function writeModel(): string {
  const path = join(temporaryFolder(), "model.gguf");
  const { metadata, tensors } = smallModel();
  writeFileSync(path, writeGguf(metadata, tensors));
  return path;
}

test("reads that the system cuts short are gone on with", async () => {
  const path = writeModel();
  const open = async () => {
    const file = await openModelFile(path);
    onTestFinished(() => file.close());
    return { fingerprint: file.fingerprint, key: file.tensor("layers.1.key") };
  };
  const expected = await open();
  disk.state = "short";
  expect(await open()).toEqual(expected);
});

test("a disk that breaks is an IO_ERROR with the path, while a model is opened and afterwards, and works again when it does", async () => {
  const path = writeModel();
  disk.state = "broken";
  await expect(openModelFile(path)).rejects.toThrow(broken);
  disk.state = "whole";
  const file = await openModelFile(path);
  onTestFinished(() => file.close());
  disk.state = "broken";
  expect(() => file.tensor("layers.0.key")).toThrow(broken);
  expect(() => file.embeddingRows([0], new Float32Array(32))).toThrow(broken);
  disk.state = "whole";
  expect(file.tensor("layers.0.key")).toHaveLength(2 * 8 * 32);
});

test("a model that is cut off after it was opened is CORRUPT_DATA, and no part of it is given", async () => {
  const path = writeModel();
  const file = await openModelFile(path);
  onTestFinished(() => file.close());
  truncateSync(path, 4000);
  expect(() => file.tensor("layers.1.down")).toThrow(expect.objectContaining({ code: "CORRUPT_DATA", message: expect.stringContaining("truncated") as string }));
});

test("a GGUF file that the system stops reading amid the header is an IO_ERROR, not a damaged file", async () => {
  const source = openByteSource(writeModel());
  onTestFinished(() => source.close());
  // The header is read by its path, which is gone by then.
  await expect(readGguf({ ...source, path: `${source.path}.gone` })).rejects.toMatchObject({ code: "IO_ERROR", message: expect.stringContaining("ENOENT") as string });
});
