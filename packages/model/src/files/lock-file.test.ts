import { existsSync, mkdtempSync, readFileSync, readdirSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { takeLockFile } from "./lock-file.js";

const newFolder = (): string => mkdtempSync(join(tmpdir(), "kvquant-lock-"));
const isDead = (signature: string): boolean => signature === "dead";

test("of many that start at once one has the lock, whether the folder is new or an owner died", async () => {
  for (const before of [undefined, "dead", "unsigned"]) {
    const path = join(newFolder(), "lock");
    if (before !== undefined) writeFileSync(path, before === "dead" ? "dead" : "");
    if (before === "unsigned") utimesSync(path, new Date(0), new Date(0));
    const names = Array.from({ length: 20 }, (_, index) => `process ${index}`);
    const taken = await Promise.all(names.map((name) => takeLockFile(path, name, isDead)));
    expect(taken.filter(Boolean)).toHaveLength(1);
    expect(readFileSync(path, "utf8")).toBe(names[taken.indexOf(true)]);
    expect(readdirSync(join(path, ".."))).toEqual(["lock"]);
  }
});

test("who saw a dead owner does not remove the lock that another has made meanwhile", async () => {
  const path = join(newFolder(), "lock");
  writeFileSync(path, "dead");
  let looks = 0;
  const taken = await takeLockFile(path, "slow", (signature) => {
    if (looks++ === 0) writeFileSync(path, "quick"); // between the look and the removal
    return isDead(signature);
  });
  expect([taken, looks, readFileSync(path, "utf8")]).toEqual([false, 2, "quick"]);
});

test("a signature that names nobody counts as none: it is waited for while it is new, and taken over when it is old", async () => {
  const path = join(newFolder(), "lock");
  writeFileSync(path, "half a na");
  const knowsNobody = (): undefined => undefined;
  expect(await takeLockFile(path, "me", knowsNobody)).toBe(false);
  utimesSync(path, new Date(0), new Date(0));
  expect(await takeLockFile(path, "me", knowsNobody)).toBe(true);
});

test("a removal cut short by the end of its process holds up nobody but the next try", async () => {
  const path = join(newFolder(), "lock");
  writeFileSync(path, "dead");
  writeFileSync(`${path}.removal`, "dead");
  expect(await takeLockFile(path, "first try", isDead)).toBe(false);
  expect(await takeLockFile(path, "second try", isDead)).toBe(true);
  expect(existsSync(`${path}.removal`)).toBe(false);
});

test("a folder that is not there is an IO_ERROR", async () => {
  await expect(takeLockFile(join(newFolder(), "none/lock"), "me", isDead)).rejects.toMatchObject({ code: "IO_ERROR" });
});
