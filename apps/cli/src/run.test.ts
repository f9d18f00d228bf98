import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { runText } from "./fixtures/run-command.js";
import { useTemporaryFolder } from "./fixtures/temporary-folder.js";

const folder = useTemporaryFolder();

const commands = ["pull", "calibrate", "inspect", "generate", "eval", "new-quantizer", "demo"];

describe("kvquant, the command line", () => {
  it.each(commands)("%s has help that names its options, on standard output with exit code 0", async (command) => {
    const { code, stdout, stderr } = await runText([command, "--help"]);
    expect(code).toBe(0);
    expect(stdout).toContain(`Usage: kvquant ${command}`);
    expect(stdout).toContain("--json");
    expect(stderr).toBe("");
  });

  it("lists the commands when asked for help", async () => {
    const { code, stdout } = await runText(["--help"]);
    expect(code).toBe(0);
    for (const command of commands) expect(stdout).toContain(`  ${command} `);
  });

  it.each([
    ["no command", []],
    ["an unknown command", ["compress"]],
    ["an unknown option", ["eval", "tiny", "--what"]],
    ["a missing argument", ["generate", "--prompt", "x"]],
    ["a missing required option", ["generate", "tiny"]],
    ["one argument too many", ["pull", "tiny", "smollm2"]],
    ["a number that is none", ["eval", "tiny", "--context", "many"]],
    ["a number with a fraction", ["eval", "tiny", "--windows", "1.5"]],
    ["a number below its bound", ["eval", "tiny", "--tail", "-1"]],
    ["a hexadecimal number", ["eval", "tiny", "--context", "0x10"]],
    ["a share above one", ["generate", "tiny", "--prompt", "x", "--top-p", "1.1"]],
    ["a share of nothing", ["generate", "tiny", "--prompt", "x", "--top-p", "0"]],
    ["an unknown sensitivity", ["calibrate", "tiny", "--sensitivity", "gut"]],
    ["an unknown preset", ["eval", "tiny", "--caches", "fp16,nuq9"]],
    ["a cache named twice", ["eval", "tiny", "--caches", "fp16,fp16"]],
    ["an empty list of caches", ["eval", "tiny", "--caches", ","]],
    ["fitting an artifact to fp16", ["calibrate", "tiny", "--cache", "fp16"]],
    ["a new quantizer with the name of a preset", ["new-quantizer", "kivi2"]],
    ["a new quantizer with a name that is no folder's", ["new-quantizer", "../mine"]],
    ["generating with an unknown preset", ["generate", "tiny", "--prompt", "x", "--cache", "kvq99"]],
  ])("answers %s with exit code 2, a message, and nothing on standard output", async (_name, argv) => {
    const { code, stdout, stderr } = await runText(argv);
    expect(code).toBe(2);
    expect(stderr).not.toBe("");
    expect(stdout).toBe("");
  });

  it("prints usage errors as a JSON document too when asked for JSON", async () => {
    const { code, stdout, stderr } = await runText(["eval", "tiny", "--caches", "nuq9", "--json"]);
    expect(code).toBe(2);
    expect(stderr).toContain("error INVALID_ARGUMENT: ");
    const { error } = JSON.parse(stdout) as { error: { code: string; message: string } };
    expect(error.code).toBe("INVALID_ARGUMENT");
    expect(error.message).toContain("nuq9");
    expect(error.message).toContain("kvq3");
  });

  it.each([
    ["a model that does not exist", () => ["generate", join(folder, "none.gguf"), "--prompt", "x"]],
    ["a model that is no model", () => ["inspect", writeJunk("junk.gguf")]],
    ["an artifact that does not exist", () => ["inspect", join(folder, "none.kvq")]],
    ["an artifact that is no artifact", () => ["inspect", writeJunk("junk.kvq")]],
  ])("answers %s with exit code 1 and the error's code", async (_name, argv) => {
    const { code, stdout, stderr } = await runText([...argv(), "--json"]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/error (UNAVAILABLE|IO_ERROR|CORRUPT_DATA|INVALID_ARGUMENT|UNSUPPORTED): \S/);
    expect(JSON.parse(stdout)).toMatchObject({ error: { code: expect.any(String), message: expect.any(String) } });
  });
});

function writeJunk(name: string): string {
  const path = join(folder, name);
  writeFileSync(path, Buffer.alloc(4096, 7));
  return path;
}
