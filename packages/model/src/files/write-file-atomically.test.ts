import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { temporaryFolder } from "./fixtures/temporary-folder.js";
import { writeFileAtomically } from "./write-file-atomically.js";
import type { WritableHandle } from "./write-file-atomically.js";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

/** Opens the real file but fails in one step, as a full or broken disk does. */
function failing(step: "write" | "sync" | "close", afterBytes = 0): (path: string) => Promise<WritableHandle> {
  return async (path) => {
    const handle = await open(path, "wx");
    let written = 0;
    const fail = (): never => {
      throw Object.assign(new Error("ENOSPC: no space left on device"), { code: "ENOSPC" });
    };
    return {
      write: async (data: Uint8Array, offset: number, length: number) => {
        if (step === "write" && written >= afterBytes) fail();
        // Real disks write less than asked for before they are full.
        const result = await handle.write(data, offset, Math.min(length, 3));
        written += result.bytesWritten;
        return result;
      },
      sync: async () => (step === "sync" ? fail() : handle.sync()),
      close: async () => {
        await handle.close();
        if (step === "close") fail();
      },
    } as WritableHandle;
  };
}

test("bytes and pieces are written whole, in new folders and over old files", async () => {
  const path = join(temporaryFolder(), "a/b/file.bin");
  await writeFileAtomically(path, bytes("first"));
  expect(readFileSync(path, "utf8")).toBe("first");
  await writeFileAtomically(path, [bytes("se"), new Uint8Array(0), bytes("cond")]);
  expect(readFileSync(path, "utf8")).toBe("second");
  await writeFileAtomically(path, (async function* () {
    yield bytes("th");
    yield bytes("ird");
  })());
  expect(readFileSync(path, "utf8")).toBe("third");
  await writeFileAtomically(path, new Uint8Array(0));
  expect(readFileSync(path, "utf8")).toBe("");
  expect(readdirSync(join(path, ".."))).toEqual(["file.bin"]);
});

test.each([["write", 0], ["write", 4], ["sync", 0], ["close", 0]] as const)("a disk that fails at %s (after %i bytes) leaves the old file and nothing else", async (step, after) => {
  const folder = temporaryFolder();
  const path = join(folder, "artifact.kvq");
  writeFileSync(path, "old");
  await expect(writeFileAtomically(path, bytes("something new"), { openFile: failing(step, after) })).rejects.toMatchObject({ code: "IO_ERROR", message: expect.stringMatching(/artifact\.kvq.*disk is full.*ENOSPC/) as string });
  expect(readFileSync(path, "utf8")).toBe("old");
  expect(readdirSync(folder)).toEqual(["artifact.kvq"]);
});

test("a source of pieces that fails leaves the old file, and its error passes", async () => {
  const folder = temporaryFolder();
  const path = join(folder, "file");
  writeFileSync(path, "old");
  const broken = function* () {
    yield bytes("new");
    throw new RangeError("from the source");
  };
  await expect(writeFileAtomically(path, broken())).rejects.toThrow(new RangeError("from the source"));
  expect(readFileSync(path, "utf8")).toBe("old");
  expect(readdirSync(folder)).toEqual(["file"]);
});

test("a target that cannot be replaced is an IO_ERROR and leaves nothing aside", async () => {
  const folder = temporaryFolder();
  mkdirSync(join(folder, "target/full"), { recursive: true });
  await expect(writeFileAtomically(join(folder, "target"), bytes("x"))).rejects.toMatchObject({ code: "IO_ERROR" });
  expect(readdirSync(folder)).toEqual(["target"]);
  writeFileSync(join(folder, "plain"), "");
  await expect(writeFileAtomically(join(folder, "plain/x"), bytes("x"))).rejects.toMatchObject({ code: "IO_ERROR" });
});

test.skipIf(!existsSync("/dev/full"))("a really full device gives ENOSPC as an IO_ERROR (skipped where there is no /dev/full)", async () => {
  const folder = temporaryFolder();
  await expect(writeFileAtomically(join(folder, "file"), bytes("x"), { openFile: () => open("/dev/full", "w") })).rejects.toMatchObject({ code: "IO_ERROR", message: expect.stringContaining("disk is full") as string });
  expect(readdirSync(folder)).toEqual([]);
});

test("two writers at once leave one of the two files whole", async () => {
  const path = join(temporaryFolder(), "file");
  const texts = ["a".repeat(100_000), "b".repeat(100_000)];
  await Promise.all(texts.map((text) => writeFileAtomically(path, bytes(text))));
  expect(texts).toContain(readFileSync(path, "utf8"));
});
