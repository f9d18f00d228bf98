import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { temporaryFolder } from "../files/fixtures/temporary-folder.js";
import { extractZipMember } from "./extract-zip-member.js";
import { writeZip } from "./fixtures/write-zip.js";

const CONTENT = new Uint8Array(300).fill(7);
const unreadable = { name: "KvquantError", code: "CORRUPT_DATA", message: expect.stringContaining("zip archive") as string };

async function extract(archive: Uint8Array): Promise<Uint8Array> {
  const folder = temporaryFolder();
  const paths = { archive: join(folder, "archive.zip"), member: "m.gguf", target: join(folder, "out") };
  writeFileSync(paths.archive, archive);
  await extractZipMember(paths);
  return new Uint8Array(readFileSync(paths.target));
}

/** The archive with a 64-bit end record said to lie at `place`. */
function withEndAt(place: bigint): Uint8Array {
  const zip = Buffer.from(writeZip({ "m.gguf": CONTENT }));
  const end = zip.length - 22;
  const locator = Buffer.alloc(20);
  locator.writeUInt32LE(0x07064b50, 0);
  locator.writeBigUInt64LE(place, 8);
  locator.writeUInt32LE(1, 16);
  zip.fill(0xff, end + 8, end + 20);
  return Buffer.concat([zip.subarray(0, end), locator, zip.subarray(end)]);
}

test("a file comes out as it went in, and others stay inside", async () => {
  expect(await extract(writeZip({ other: Uint8Array.of(1), "m.gguf": CONTENT }))).toEqual(CONTENT);
});

test.each([2n ** 63n - 1n, 2n ** 53n, 10_000n, 2n ** 61n])("an archive whose end lies at byte %s, outside of it, is refused where it can be caught", async (place) => {
  await expect(extract(withEndAt(place))).rejects.toMatchObject(unreadable);
});

test.each([
  ["signature", 0],
  ["length of its name", 26],
])("a file whose local header has a wrong %s is refused by type", async (_what, at) => {
  const zip = writeZip({ "m.gguf": CONTENT });
  zip[at]! ^= 0xff;
  zip[at + 1]! ^= 0xff;
  await expect(extract(zip)).rejects.toMatchObject(unreadable);
});
