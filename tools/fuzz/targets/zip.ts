/** An archive that a download left, such as a wheel. */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { extractZipMember } from "../../../packages/model/src/resolve/extract-zip-member.js";
import { writeZip } from "../../../packages/model/src/resolve/fixtures/write-zip.js";
import { obeyAsync, scratchFolder } from "../law.js";

export function seeds(): Uint8Array[] {
  return [writeZip({ "a/b.txt": new TextEncoder().encode("not this one"), "m.gguf": new Uint8Array(300).fill(7) })];
}

export async function fuzz(data: Uint8Array): Promise<void> {
  const archive = join(scratchFolder, "archive.zip");
  writeFileSync(archive, data);
  await obeyAsync(data.length, () => extractZipMember({ archive, member: "m.gguf", target: join(scratchFolder, "out") }));
}
