import { existsSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { spawnSync } from "node:child_process";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { acquireLock } from "./setup-lock.mjs";

/** @type {string} */
let folder;
/** @type {string} */
let lock;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "kvquant-lock-"));
  lock = join(folder, "lock");
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

const never = () => {
  throw new Error("should not have waited");
};

describe("acquireLock", () => {
  it("lets one in at a time, and says once that it waits", async () => {
    let waits = 0;
    const release = await acquireLock(lock, never);
    const second = acquireLock(lock, () => waits++, { pollMilliseconds: 5 });
    const winner = await Promise.race([second.then(() => "second"), new Promise((resolve) => setTimeout(resolve, 50, "nobody"))]);
    expect(winner).toBe("nobody");
    release();
    (await second)();
    expect(waits).toBe(1);
    expect(existsSync(lock)).toBe(false);
  });

  it("takes over the lock of a process that has ended", async () => {
    const ended = spawnSync(process.execPath, ["-e", ""]);
    writeFileSync(lock, String(ended.pid));
    (await acquireLock(lock, never))();
  });

  it("takes over an old lock that nobody signed", async () => {
    writeFileSync(lock, "");
    const longAgo = new Date(Date.now() - 60_000);
    utimesSync(lock, longAgo, longAgo);
    (await acquireLock(lock, never))();
  });
});
