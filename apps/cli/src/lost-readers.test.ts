import { PassThrough } from "node:stream";
import { expect, it } from "vitest";
import { watchReaders } from "./lost-readers.js";

it("a lost reader of results ends the program, one of logs does not, and other errors are thrown", () => {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  let ended = 0;
  watchReaders({ stdout, stderr }, () => void ended++);
  const broken = Object.assign(new Error("write EPIPE"), { code: "EPIPE" });
  stderr.emit("error", broken);
  expect(ended).toBe(0);
  stdout.emit("error", broken);
  expect(ended).toBe(1);
  const full = Object.assign(new Error("write ENOSPC"), { code: "ENOSPC" });
  for (const stream of [stdout, stderr]) expect(() => stream.emit("error", full)).toThrow("ENOSPC");
});
