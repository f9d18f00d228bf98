import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import type * as promises from "node:fs/promises";
import { join } from "node:path";
import { afterEach, expect, test, vi } from "vitest";
import { temporaryFolder } from "../files/fixtures/temporary-folder.js";
import { startFakeHub } from "./fixtures/fake-hub.js";
import { resolveModel } from "./resolve-model.js";

/** A disk with room for so many bytes more (undefined: as many as there are), of which one write takes at most `most`. It writes what still fits, and fails the next time, as disks do. */
const disk = vi.hoisted((): { room: number | undefined; most: number; failsAt: "write" | "sync" | "lock" } => ({ room: undefined, most: Infinity, failsAt: "write" }));

vi.mock("node:fs/promises", async (importOriginal) => {
  const original = await importOriginal<typeof promises>();
  const full = (): never => {
    throw Object.assign(new Error("ENOSPC: no space left on device"), { code: "ENOSPC", errno: -28 });
  };
  const open: typeof original.open = async (path, ...rest) => {
    const handle = await original.open(path, ...rest);
    if (disk.failsAt === "lock" && String(path).endsWith(".lock")) return Object.assign(Object.create(handle) as typeof handle, { writeFile: () => Promise.resolve().then(full), close: () => handle.close() });
    if (!String(path).endsWith(".part") || disk.room === undefined) return handle;
    return Object.assign(Object.create(handle) as typeof handle, {
      write: async (data: Uint8Array, offset: number, length: number, position: number) => {
        if (disk.failsAt === "sync") return handle.write(data, offset, length, position);
        if (disk.room === 0) full();
        const result = await handle.write(data, offset, Math.min(length, disk.room!, disk.most), position);
        disk.room! -= result.bytesWritten;
        return result;
      },
      sync: () => (disk.failsAt === "sync" ? Promise.resolve().then(full) : handle.sync()),
      close: () => handle.close(),
    });
  };
  return { ...original, open };
});

afterEach(() => {
  Object.assign(disk, { room: undefined, most: Infinity, failsAt: "write" });
});

const MODEL = Uint8Array.from({ length: 50_000 }, (_, index) => (index * 7919) >> 3);
const full = { code: "IO_ERROR", message: expect.stringMatching(/model\.gguf.*disk is full.*ENOSPC/) as string };

test("a disk that fills up during a download is an IO_ERROR at once, and the download goes on where it stopped when there is room", async () => {
  const hub = await startFakeHub({ "model.gguf": MODEL });
  const cacheFolder = temporaryFolder();
  disk.room = 20_001;
  await expect(resolveModel("hf:owner/repo/model.gguf", { cacheFolder })).rejects.toMatchObject(full);
  const part = join(cacheFolder, "models/hf/owner/repo/model.gguf.part");
  expect(statSync(part).size).toBe(20_001);
  expect(existsSync(part.replace(".part", ""))).toBe(false);
  disk.room = undefined;
  const { path } = await resolveModel("hf:owner/repo/model.gguf", { cacheFolder });
  expect(new Uint8Array(readFileSync(path))).toEqual(MODEL);
  expect(hub.requests.filter((line) => line.includes("bytes=20001-"))).toHaveLength(1);
  expect(readdirSync(join(path, ".."))).toEqual(["model.gguf"]);
});

test("writes that the system cuts short lose nothing", async () => {
  await startFakeHub({ "model.gguf": MODEL });
  Object.assign(disk, { room: MODEL.length, most: 777 });
  const { path } = await resolveModel("hf:owner/repo/model.gguf", { cacheFolder: temporaryFolder() });
  expect(new Uint8Array(readFileSync(path))).toEqual(MODEL);
});

test("a disk that fails when a download is synced is an IO_ERROR, and not taken for a bad connection", async () => {
  await startFakeHub({ "model.gguf": MODEL });
  Object.assign(disk, { room: 1, failsAt: "sync" });
  await expect(resolveModel("hf:owner/repo/model.gguf", { cacheFolder: temporaryFolder() })).rejects.toMatchObject(full);
});

test("a disk without room for the lock is an IO_ERROR, and leaves no lock that later downloads would wait for", async () => {
  await startFakeHub({ "model.gguf": MODEL });
  const cacheFolder = temporaryFolder();
  disk.failsAt = "lock";
  await expect(resolveModel("hf:owner/repo/model.gguf", { cacheFolder })).rejects.toMatchObject({ code: "IO_ERROR", message: expect.stringMatching(/\.lock.*disk is full/) as string });
  expect(existsSync(join(cacheFolder, "models/hf/owner/repo/.lock"))).toBe(false);
  disk.failsAt = "write";
  await resolveModel("hf:owner/repo/model.gguf", { cacheFolder, signal: AbortSignal.timeout(5000) });
});
