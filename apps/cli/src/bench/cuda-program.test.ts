import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { buildCudaProgram, createProgramRunner, findCheckout, runCudaParts } from "./cuda-program.js";

describe("the CUDA benchmark program", () => {
  const root = mkdtempSync(join(tmpdir(), "kvquant-checkout-"));
  afterAll(() => {
    rmSync(root, { recursive: true });
  });

  it("is looked for in the checkout above a folder, and refused where there is none", () => {
    expect(() => findCheckout(root)).toThrow(expect.objectContaining({ code: "UNSUPPORTED", message: expect.stringContaining("clone the project") as unknown }));
    mkdirSync(join(root, "tools"));
    mkdirSync(join(root, "apps", "cli"), { recursive: true });
    writeFileSync(join(root, "tools", "build-cuda.mjs"), "console.log(`nvcc said ${process.argv[2]}`); process.exitCode = 3;");
    expect(findCheckout(join(root, "apps", "cli"))).toBe(root);
  });

  it("is compiled by the build tool, whose words are told when it fails", async () => {
    const run = createProgramRunner(root, new AbortController().signal);
    await expect(buildCudaProgram(root, run)).rejects.toMatchObject({ code: "NATIVE_UNAVAILABLE", message: expect.stringMatching(/exit code 3: nvcc said --only-bench/) as unknown });
    writeFileSync(join(root, "tools", "build-cuda.mjs"), "");
    expect(await buildCudaProgram(root, run)).toBe(join(root, "native", "build-cuda", "bench", "bench"));
  });

  it("runs its parts in order, prints each in lines of its own as it ends, and stops at the first that does not pass", async () => {
    const said: string[] = [];
    const answer = (codes: Record<string, number>): ReturnType<typeof runCudaParts> => {
      said.length = 0;
      const runPart = async (part: string, onLine: (line: string) => void): Promise<number> => {
        for (const line of [`${part} begins`, `${part} ends`]) onLine(line);
        return Promise.resolve(codes[part] ?? 0);
      };
      return runCudaParts(runPart, (text) => said.push(text), "a GPU");
    };
    expect(await answer({})).toEqual({ check: ["check begins", "check ends"], matvec: ["matvec begins", "matvec ends"], attend: ["attend begins", "attend ends"] });
    expect(said.join("")).toBe("check begins\ncheck ends\nmatvec begins\nmatvec ends\nattend begins\nattend ends\n");
    await expect(answer({ matvec: 3 })).rejects.toMatchObject({ code: "NATIVE_UNAVAILABLE", message: "bench cuda: expected matvec to pass on a GPU, got exit code 3: matvec begins\nmatvec ends" });
    expect(said).toHaveLength(2);
  });

  it("hands on whole lines of both streams, the last one too, and can be interrupted", async () => {
    const lines: string[] = [];
    const stop = new AbortController();
    const run = createProgramRunner(root, stop.signal);
    const script = 'process.stdout.write("a"); setTimeout(() => { process.stdout.write("b\\nc"); process.exitCode = 7; }, 50)';
    expect(await run(process.execPath, ["-e", script], (line) => lines.push(line))).toBe(7);
    expect(lines).toEqual(["ab", "c"]);
    const running = run(process.execPath, ["-e", "setInterval(() => {}, 1000)"], () => undefined);
    stop.abort();
    await expect(running).rejects.toMatchObject({ code: "CANCELLED" });
  });
});
