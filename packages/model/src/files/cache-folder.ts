/** Where downloads and calibrations are kept. */

import { homedir } from "node:os";
import { join, resolve } from "node:path";

/**
 * The user's cache folder: KVQUANT_CACHE, else XDG_CACHE_HOME/kvquant, else what the platform uses
 * (~/.cache, ~/Library/Caches, %LOCALAPPDATA%). It need not exist.
 */
export function cacheFolder(environment: Readonly<Record<string, string | undefined>> = process.env, platform: string = process.platform): string {
  const own = environment["KVQUANT_CACHE"];
  if (own) return resolve(own);
  const xdg = environment["XDG_CACHE_HOME"];
  if (xdg) return join(xdg, "kvquant");
  if (platform === "darwin") return join(homedir(), "Library", "Caches", "kvquant");
  if (platform === "win32") return join(environment["LOCALAPPDATA"] ?? join(homedir(), "AppData", "Local"), "kvquant", "Cache");
  return join(homedir(), ".cache", "kvquant");
}
