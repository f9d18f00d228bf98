/** Stands in for the file reader of @huggingface/gguf in fuzz targets: the same ranges, read at once, since waiting for files takes longer than parsing them. */

import { readFileSync } from "node:fs";

export class FileBlob {
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  static create(path: string): Promise<FileBlob> {
    return Promise.resolve(new FileBlob(readFileSync(path)));
  }

  get size(): number {
    return this.#bytes.length;
  }

  slice(start: number, end: number): FileBlob {
    return new FileBlob(this.#bytes.subarray(start, end));
  }

  arrayBuffer(): Promise<ArrayBuffer> {
    return Promise.resolve(Uint8Array.from(this.#bytes).buffer);
  }
}
