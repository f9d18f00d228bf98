import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { deployFolder, hasProgram, withSystemFolders } from "./fixtures/run-gateway.js";
import { loadConfiguration } from "../configuration/load-configuration.js";
import { configurationVariable, settings } from "../configuration/settings.js";

const read = (name: string): string => readFileSync(join(deployFolder, name), "utf8");
const folder = mkdtempSync(join(tmpdir(), "kvquant-deploy-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("deployment examples", () => {
  it.skipIf(!hasProgram("nginx"))("have an nginx configuration that nginx accepts", () => {
    execFileSync("nginx", ["-t", "-q", "-p", folder, "-c", join(deployFolder, "nginx.conf")], { env: withSystemFolders(), stdio: "pipe" });
  });

  it.skipIf(!hasProgram("haproxy"))("have an HAProxy configuration that HAProxy accepts", () => {
    execFileSync("haproxy", ["-c", "-f", join(deployFolder, "haproxy.cfg")], { env: withSystemFolders(), stdio: "pipe" });
  });

  it.skipIf(!hasProgram("systemd-analyze"))("have a unit that systemd accepts, with little left exposed", () => {
    // The checkout and node lie elsewhere on this machine.
    const unit = join(folder, "kvquant.service");
    writeFileSync(unit, read("kvquant.service").replaceAll("/usr/bin/node", process.execPath).replaceAll("/opt/kvquant", folder));
    // It names what it does not know and what is not there, and ends well all the same.
    expect(execFileSync("sh", ["-c", `systemd-analyze verify ${unit} 2>&1`], { encoding: "utf8" })).not.toMatch(/kvquant\.service/);
    const report = execFileSync("systemd-analyze", ["security", "--offline=true", "--no-pager", unit], { encoding: "utf8" });
    expect(Number(/exposure level for kvquant\.service: ([\d.]+)/.exec(report)?.[1])).toBeLessThan(2);
  });

  it("set only variables that the server knows", () => {
    const known = new Set([...settings.map(({ variable }) => variable), configurationVariable, "KVQUANT_CACHE"]);
    for (const name of ["Dockerfile", "compose.yaml", "kvquant.service"]) {
      const used = [...read(name).matchAll(/\bKVQUANT_[A-Z_]+/g)].map(([variable]) => variable);
      expect(used.length, name).toBeGreaterThan(3);
      expect(used.filter((variable) => !known.has(variable) && variable !== "KVQUANT_DRAIN_SECONDS"), name).toEqual([]);
    }
  });

  it("have a configuration file that the server takes, with what the unit sets besides", () => {
    const environment = Object.fromEntries([.../^Environment=(.*)$/m.exec(read("kvquant.service"))![1]!.matchAll(/(\w+)=(\S+)/g)].map(([, name, value]) => [name, value]));
    const configuration = loadConfiguration({ environment: { ...environment, KVQUANT_CONFIG: join(deployFolder, "server.json") } });
    expect(configuration.store).toMatchObject({ bytes: 8 * 2 ** 30, path: "/var/lib/kvquant/pages" });
  });

  it("name files that are there", () => {
    const root = join(deployFolder, "..");
    for (const path of ["tools/setup.mjs", "apps/cli/src/main.ts", "deploy/Dockerfile", "deploy/haproxy.cfg"]) expect(existsSync(join(root, path)), path).toBe(true);
    expect(JSON.parse(readFileSync(join(root, "apps/cli/package.json"), "utf8")).bin.kvquant).toBe("./dist/main.js");
  });
});
