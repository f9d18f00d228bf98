/** How a tensor type stores numbers: equal blocks of a row, each decoded on its own. */

/** A tensor type of the ggml specification. */
export interface BlockType {
  /** Number in GGUF files; undefined for a type only other formats have. */
  readonly id: number;
  readonly name: string;
  /** Values in a block. */
  readonly values: number;
  /** Bytes of a block. */
  readonly bytes: number;
  /** Decodes `count` blocks of `source` from byte `from` on into `out` from index `to` on. */
  decode(source: Uint8Array, from: number, count: number, out: Float32Array, to: number): void;
}
