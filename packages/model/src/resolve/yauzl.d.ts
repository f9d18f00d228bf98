/** The part of yauzl 3 that is used; the package has no types of its own. */
declare module "yauzl" {
  import { EventEmitter } from "node:events";
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

  /** Where an archive's bytes come from; ends with the last who holds it. */
  export class RandomAccessReader extends EventEmitter {
    read(target: Buffer, offset: number, length: number, position: number, done: (error: Error | null, count?: number) => void): void;
    _readStreamForRange(start: number, end: number): Readable;
    close(done: (error: Error | null) => void): void;
  }

  export function fromRandomAccessReader(reader: RandomAccessReader, size: number, options: { lazyEntries: true; autoClose: false }, done: (error: Error | null, zip: ZipFile) => void): void;
}
