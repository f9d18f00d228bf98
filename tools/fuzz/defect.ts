/** A parser with a defect, for the test of the fuzzer itself. */

export function seeds(): Uint8Array[] {
  return [new TextEncoder().encode("hello world, this is no finding")];
}

export function fuzz(data: Uint8Array): void {
  const number = data.length > 12 ? new DataView(data.buffer, data.byteOffset).getUint32(8, true) : 0;
  if (data[0] !== 0x4b || data[1] !== 0x56 || data[2] !== 7) return;
  if (number === 123_456_789) throw new Error("expected to be found");
}
