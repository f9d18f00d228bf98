/** The files of a hub repository. */

import { KvquantError } from "@kvquant/spec";
import { throwIfCancelled, unavailable } from "./failures.js";
import type { ExpectedFile } from "./file-hash.js";
import { hubToken } from "./hub-token.js";
import { refusal } from "./open-remote.js";
import type { ResolveContext } from "./resolve-options.js";

/** A file of a repository and what the hub says about it. */
export interface HubFile extends ExpectedFile {
  readonly name: string;
}

const ATTEMPTS = 3;

/**
 * Lists a repository by the hub's API.
 * @throws UNAVAILABLE when the hub cannot be reached or has no such repository
 * @throws CORRUPT_DATA for an answer that is no listing, or a name that would leave the folder it is downloaded to
 */
export async function listHubFiles(repository: string, context: ResolveContext): Promise<readonly HubFile[]> {
  const url = `${context.endpoint}/api/models/${repository}?blobs=true`;
  context.progress(`listing ${repository}`);
  let failure: unknown;
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    try {
      return parse(await request(url, context.signal), url);
    } catch (error) {
      throwIfCancelled(context.signal, repository);
      if (KvquantError.isInstance(error)) throw error;
      failure = error;
    }
  }
  const cause = failure instanceof Error ? (failure.cause ?? failure) : failure;
  throw unavailable(`hf:${repository}`, `${context.endpoint} cannot be reached (${cause instanceof Error ? cause.message : String(cause)})`, "check the network, set HF_ENDPOINT to a mirror, or download the file elsewhere and give its path", failure);
}

async function request(url: string, signal: AbortSignal | undefined): Promise<unknown> {
  const token = hubToken();
  const timeout = AbortSignal.timeout(30_000);
  const response = await fetch(url, {
    headers: { "user-agent": "kvquant", ...(token ? { authorization: `Bearer ${token}` } : {}) },
    signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
  });
  if (!response.ok) {
    await response.body?.cancel();
    throw refusal(response.status, url);
  }
  const text = await response.text();
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new KvquantError("CORRUPT_DATA", `${url}: expected a JSON listing, got ${JSON.stringify(text.slice(0, 60))}; is HF_ENDPOINT a hub?`, { cause });
  }
}

function parse(listing: unknown, url: string): HubFile[] {
  const siblings = (listing as { siblings?: unknown } | null)?.siblings;
  if (!Array.isArray(siblings)) throw new KvquantError("CORRUPT_DATA", `${url}: expected a listing with siblings, got none; is HF_ENDPOINT a hub?`);
  const files: HubFile[] = [];
  for (const entry of siblings as readonly Record<string, unknown>[]) {
    const name = entry?.["rfilename"];
    if (typeof name !== "string") continue;
    if (name.split(/[\\/]/).some((part) => /^\.{0,2}$/.test(part))) throw new KvquantError("CORRUPT_DATA", `${url}: expected names of files in the repository, got ${JSON.stringify(name)}; is HF_ENDPOINT a hub?`);
    const lfs = entry["lfs"] as { sha256?: unknown; oid?: unknown; size?: unknown } | null | undefined;
    const sha256 = [lfs?.sha256, lfs?.oid].find((hash): hash is string => typeof hash === "string" && /^[0-9a-f]{64}$/.test(hash));
    const size = [lfs?.size, entry["size"]].find((value): value is number => Number.isSafeInteger(value));
    const blob = entry["blobId"];
    files.push({ name, size, sha256, gitBlob: !lfs && typeof blob === "string" && /^[0-9a-f]{40}$/.test(blob) ? blob : undefined });
  }
  return files;
}
