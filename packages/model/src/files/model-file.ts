/** A model on disk behind one interface, whatever its format. */

import { check, checkLength, KvquantError } from "@kvquant/spec";
import type { ModelConfig } from "../config/model-config.js";
import type { TensorName } from "../config/tensor-name.js";
import type { TokenizerSource } from "../tokenizer/tokenizer-source.js";
import type { ByteSource } from "./byte-source.js";
import { modelFingerprint } from "./model-fingerprint.js";
import { readRow, readRows, readTensor, rowBytes, rowTargets } from "./stored-tensor.js";
import type { StoredTensor } from "./stored-tensor.js";

/** An open model: configuration, tokenizer data, and weights on demand. */
export interface ModelFile {
  readonly config: ModelConfig;
  /** Hex SHA-256 that artifacts name the model by: of the configuration, every tensor's name, type and shape, and the first and last KiB of its bytes. */
  readonly fingerprint: string;
  /** The GGUF file or the folder. */
  readonly path: string;
  readonly tokenizerSource: TokenizerSource;
  /**
   * A tensor in fp32, row-major `[out, in]`, newly decoded at each call. Rows of q and k pair channels (j, j + D/2) in RoPE.
   * @throws INVALID_ARGUMENT for a name this model does not have
   * @throws DISPOSED after `close`
   */
  tensor(name: TensorName): Float32Array;
  /**
   * A matrix as it lies in the file, row after row, for those who pack it themselves.
   * @throws INVALID_ARGUMENT for a name this model does not have
   * @throws DISPOSED after `close`
   */
  storedMatrix(name: TensorName): StoredMatrix;
  /**
   * Embeddings of some tokens into `out` `[tokens, width]`, decoding those rows only.
   * @throws INVALID_ARGUMENT for a token outside the vocabulary
   * @throws DISPOSED after `close`
   */
  embeddingRows(tokens: ArrayLike<number>, out: Float32Array): void;
  close(): void;
}

/** Rows of a matrix in a tensor type of the ggml specification. */
export interface StoredMatrix {
  /** Number of the type in GGUF files. */
  readonly type: number;
  readonly rows: number;
  readonly cols: number;
  readonly rowBytes: number;
  /** Row i of the file is row `target[i]` of the matrix; undefined when they are the same. */
  readonly target: Uint32Array | undefined;
  /** The bytes of `count` file rows from `first` on, valid until the next call. */
  read(first: number, count: number): Uint8Array;
}

/** What a format's reader found. */
export interface ModelParts {
  readonly path: string;
  readonly config: ModelConfig;
  readonly tokenizerSource: TokenizerSource;
  /** Checked to be complete and of the right shapes; a tied head is left out. */
  readonly tensors: ReadonlyMap<TensorName, StoredTensor>;
  readonly sources: readonly ByteSource[];
}

/** Makes the interface over checked parts; computes the fingerprint. */
export function createModelFile(parts: ModelParts): ModelFile {
  const { config, tensors, path } = parts;
  let closed = false;
  const find = (name: TensorName): StoredTensor => {
    if (closed) throw new KvquantError("DISPOSED", `${path}: expected an open model, got one that was closed`);
    const tensor = tensors.get(name === "output" && config.tiedEmbeddings ? "embedding" : name);
    check(tensor !== undefined, "tensor", `a tensor of this ${config.architecture} model`, name);
    return tensor;
  };
  return {
    config,
    fingerprint: modelFingerprint(config, tensors),
    path,
    tokenizerSource: parts.tokenizerSource,
    tensor: (name) => readTensor(find(name)),
    storedMatrix(name) {
      const tensor = find(name);
      return {
        type: tensor.type.id,
        rows: tensor.rows,
        cols: tensor.cols,
        rowBytes: rowBytes(tensor),
        target: tensor.order && Uint32Array.from(rowTargets(tensor.order)),
        read: (first, count) => readRows(tensor, first, count),
      };
    },
    embeddingRows(tokens, out) {
      const tensor = find("embedding");
      checkLength("embeddingRows: out", out, tokens.length * config.width);
      for (let index = 0; index < tokens.length; index++) {
        const token = tokens[index]!;
        check(Number.isInteger(token) && token >= 0 && token < config.vocabulary, `embeddingRows: token ${index}`, `an id from 0 to ${config.vocabulary - 1}`, token);
      }
      for (let index = 0; index < tokens.length; index++) readRow(tensor, tokens[index]!, out, index * config.width);
    },
    close() {
      closed = true;
      for (const source of parts.sources) source.close();
    },
  };
}
