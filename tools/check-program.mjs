// What a stranger does first with an installed `kvquant`: its help, a text, and a server that answers a chat and ends when told to.
import { spawn } from "node:child_process";
import { join } from "node:path";
import { runCommand } from "./run-command.mjs";

/** No step takes this long on any machine; a program that hangs is ended. */
const LIMIT_MILLISECONDS = 180_000;

/**
 * Runs it in the empty project where npm installed it. The model is `tiny`, which comes with the packages.
 * @param {string} folder @param {NodeJS.ProcessEnv} env beyond the process's own
 * @returns {Promise<{ check: string, problem: string | undefined }[]>}
 */
export async function checkProgram(folder, env) {
  const options = { cwd: folder, env: { ...process.env, ...env, KVQUANT_CACHE: join(folder, "kvquant-cache") } };
  const npx = process.platform === "win32" ? "npx.cmd" : "npx";
  const help = await runCommand(npx, ["--no", "--", "kvquant", "--help"], options);
  const text = await runCommand(npx, ["--no", "--", "kvquant", "generate", "tiny", "--prompt", "One day", "--max-tokens", "16", "--quiet"], options);
  return [
    { check: "npx kvquant --help", problem: help.code === 0 && help.output.includes("serve") ? undefined : `exit code ${help.code}\n${help.output}` },
    { check: "npx kvquant generate", problem: text.code === 0 && /\w{3,}/.test(text.output) ? undefined : `exit code ${text.code}\n${text.output}` },
    { check: "kvquant serve", problem: await serve(options) },
  ];
}

/** @param {{ cwd: string, env: NodeJS.ProcessEnv }} options @returns {Promise<string | undefined>} what went wrong */
async function serve(options) {
  const child = spawn(process.execPath, [join(options.cwd, "node_modules", ".bin", "kvquant"), "serve", "--model", "tiny", "--port", "0"], { ...options, stdio: ["ignore", "pipe", "pipe"], timeout: LIMIT_MILLISECONDS });
  let output = "";
  const ended = new Promise((resolve) => child.on("close", (code, signal) => resolve(code ?? signal)));
  const listening = new Promise((resolve) => {
    const read = (/** @type {Buffer} */ chunk) => {
      output += chunk.toString("utf8");
      const url = /listening on (\S+)\n/.exec(output)?.[1];
      if (url !== undefined) resolve(url);
    };
    child.stdout.on("data", read);
    child.stderr.on("data", read);
  });
  try {
    const url = await Promise.race([listening, ended.then((code) => Promise.reject(new Error(`the server ended with ${code} before it listened`)))]);
    const body = JSON.stringify({ model: "tiny", messages: [{ role: "user", content: "Tell me about the whale." }], max_tokens: 16, temperature: 0 });
    const response = await fetch(`${url}/v1/chat/completions`, { method: "POST", headers: { "content-type": "application/json" }, body });
    const answer = /** @type {any} */ (await response.json());
    const content = answer.choices?.[0]?.message?.content;
    if (!response.ok || typeof content !== "string" || content.trim() === "") return `expected an answer to a chat, got ${response.status} ${JSON.stringify(answer)}\n${output}`;
    child.kill("SIGTERM");
    const code = await ended;
    return code === 0 ? undefined : `expected exit code 0 after SIGTERM, got ${code}\n${output}`;
  } catch (error) {
    return `${error instanceof Error ? error.message : String(error)}\n${output}`;
  } finally {
    child.kill("SIGKILL");
  }
}
