import { readFileSync, truncateSync, utimesSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { openByteSource } from "./byte-source.js";
import { cacheFolder } from "./cache-folder.js";
import { temporaryFolder } from "./fixtures/temporary-folder.js";
import { readWholeFile } from "./read-whole-file.js";

test("readWholeFile gives all bytes, and IO_ERROR or OUT_OF_CAPACITY otherwise", async () => {
  const folder = temporaryFolder();
  const path = join(folder, "file");
  writeFileSync(path, "hello");
  expect(await readWholeFile(path)).toEqual(new Uint8Array(readFileSync(path)));
  await expect(readWholeFile(path, { maximumBytes: 4 })).rejects.toMatchObject({ code: "OUT_OF_CAPACITY" });
  await expect(readWholeFile(join(folder, "none"))).rejects.toMatchObject({ code: "IO_ERROR", message: expect.stringMatching(/none.*no such file.*ENOENT/) as string });
  await expect(readWholeFile(folder)).rejects.toMatchObject({ code: "IO_ERROR", message: expect.stringContaining("folder") as string });
});

test("a byte source reads inside its file only", () => {
  const path = join(temporaryFolder(), "file");
  writeFileSync(path, Uint8Array.from({ length: 100 }, (_, index) => index));
  const source = openByteSource(path);
  expect([...source.read(97, new Uint8Array(3))]).toEqual([97, 98, 99]);
  expect(source.read(100, new Uint8Array(0))).toHaveLength(0);
  for (const offset of [98, -1, 0.5, 2 ** 53]) expect(() => source.read(offset, new Uint8Array(3)), String(offset)).toThrow(expect.objectContaining({ code: "CORRUPT_DATA" }));
  truncateSync(path, 50);
  expect(() => source.read(40, new Uint8Array(20))).toThrow(expect.objectContaining({ code: "CORRUPT_DATA", message: expect.stringContaining("got 50") as string }));
  source.close();
  source.close();
  expect(() => source.read(0, new Uint8Array(1))).toThrow(expect.objectContaining({ code: "DISPOSED" }));
  expect(() => openByteSource(join(path, ".."))).toThrow(expect.objectContaining({ code: "IO_ERROR" }));
});

test("a byte source refuses a file that was changed since it was opened", () => {
  const path = join(temporaryFolder(), "file");
  writeFileSync(path, "as it was");
  const source = openByteSource(path);
  expect(source.read(0, new Uint8Array(2))).toHaveLength(2);
  writeFileSync(path, "as it is ");
  utimesSync(path, 1, 1);
  expect(() => source.read(0, new Uint8Array(2))).toThrow(expect.objectContaining({ code: "CORRUPT_DATA", message: expect.stringContaining("changed since") as string }));
  source.close();
});

test("the cache folder follows KVQUANT_CACHE, XDG_CACHE_HOME and the platform, in this order", () => {
  expect(cacheFolder({ KVQUANT_CACHE: "/a", XDG_CACHE_HOME: "/b" })).toBe("/a");
  expect(cacheFolder({ KVQUANT_CACHE: "", XDG_CACHE_HOME: "/b" })).toBe(join("/b", "kvquant"));
  expect(cacheFolder({}, "linux")).toBe(join(homedir(), ".cache", "kvquant"));
  expect(cacheFolder({}, "darwin")).toBe(join(homedir(), "Library", "Caches", "kvquant"));
  expect(cacheFolder({ LOCALAPPDATA: "C:" }, "win32")).toBe(join("C:", "kvquant", "Cache"));
});
