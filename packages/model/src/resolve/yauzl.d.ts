/** The part of yauzl 3 that is used; the package has no types of its own. */
declare module "yauzl" {
  import type { EventEmitter } from "node:events";
  import type { Readable } from "node:stream";

  export interface Entry {
    readonly fileName: string;
    readonly uncompressedSize: number;
  }

  /** Emits "entry" (Entry), "end" and "error". */
  export interface ZipFile extends EventEmitter {
    readEntry(): void;
    openReadStream(entry: Entry, done: (error: Error | null, stream: Readable) => void): void;
    close(): void;
  }

  export function open(path: string, options: { lazyEntries: true; autoClose: false }, done: (error: Error | null, zip: ZipFile) => void): void;
}
