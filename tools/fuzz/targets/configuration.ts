/** The server's configuration: the file, and settings from the environment. */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describeConfiguration, loadConfiguration } from "../../../apps/server/src/configuration/load-configuration.js";
import { settings } from "../../../apps/server/src/configuration/settings.js";
import { obey, scratchFolder } from "../law.js";

const path = join(scratchFolder, "server.json");

export function seeds(): Uint8Array[] {
  const file = {
    host: "::1", port: 1, apiKeys: ["12345678"], origins: ["*"], drainSeconds: 5, offline: true,
    models: [{ name: "a", source: "./a.gguf", cache: "kvq:2.5", quantizers: ["./mine.mjs"], context: 512, cacheBytes: "256 MiB", sinks: 2, products: "exact", chatTemplate: "plain" }],
    store: { path: "./pages", bytes: "1GiB", url: "redis://user:password@host:1/0", ttlSeconds: 5 },
    limits: { bodyBytes: 100, choices: 2 }, fidelity: { share: 0.5 }, log: { level: "warn", format: "json" },
  };
  const text = (value: string): Uint8Array => new TextEncoder().encode(value);
  return [text(`f${JSON.stringify(file)}`), text("f{}"), ...settings.map((_, index) => text(`${String.fromCharCode(0x80 + index)}3 MiB`)), text("\u00873,on"), text("\u0080true")].map((bytes) => bytes.slice());
}

/** `f` and a file, or the number of a setting and its text. */
export function fuzz(data: Uint8Array): void {
  const text = new TextDecoder().decode(data);
  const kind = text.charCodeAt(0) || 0;
  obey(data.length, () => {
    if (text.startsWith("f")) {
      writeFileSync(path, data.subarray(1));
      describeConfiguration(loadConfiguration({ flags: { config: path } }));
    } else describeConfiguration(loadConfiguration({ environment: { [settings[kind % settings.length]!.variable]: text.slice(1) } }));
  });
}
