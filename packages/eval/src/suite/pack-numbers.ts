/** Arrays of numbers as text in JSON, bit for bit. */

/** Base64 of the array's bytes, little-endian. */
export function packNumbers(values: Float32Array | Float64Array | Uint8Array): string {
  return Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString("base64");
}

/** The float64 numbers of {@link packNumbers}. */
export function unpackFloat64(text: string): Float64Array {
  return new Float64Array(unpackBytes(text).buffer);
}

/** The float32 numbers of {@link packNumbers}. */
export function unpackFloat32(text: string): Float32Array {
  return new Float32Array(unpackBytes(text).buffer);
}

/** The bytes of {@link packNumbers}. */
export function unpackBytes(text: string): Uint8Array<ArrayBuffer> {
  // A copy of its own: Buffer may hand out a slice at an offset that floats cannot start at.
  return Uint8Array.from(Buffer.from(text, "base64"));
}
