/** CRC-32 as in zip and PNG. */

const POLYNOMIAL = 0xedb88320;

/** Table k advances a byte that has k zero bytes behind it. */
const TABLES = Array.from({ length: 4 }, () => new Uint32Array(256));
for (let byte = 0; byte < 256; byte++) {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ POLYNOMIAL : value >>> 1;
  TABLES[0]![byte] = value;
}
for (let table = 1; table < 4; table++) {
  for (let byte = 0; byte < 256; byte++) {
    const value = TABLES[table - 1]![byte]!;
    TABLES[table]![byte] = (value >>> 8) ^ TABLES[0]![value & 255]!;
  }
}

/** CRC-32 (IEEE 802.3, reflected) of `bytes[start .. end)`; four bytes a step. */
export function crc32(bytes: Uint8Array, start = 0, end = bytes.length): number {
  const [table0, table1, table2, table3] = TABLES as [Uint32Array, Uint32Array, Uint32Array, Uint32Array];
  let crc = 0xffffffff;
  let index = start;
  for (; index + 4 <= end; index += 4) {
    crc ^= bytes[index]! | (bytes[index + 1]! << 8) | (bytes[index + 2]! << 16) | (bytes[index + 3]! << 24);
    crc = table3[crc & 255]! ^ table2[(crc >>> 8) & 255]! ^ table1[(crc >>> 16) & 255]! ^ table0[crc >>> 24]!;
  }
  for (; index < end; index++) crc = (crc >>> 8) ^ table0[(crc ^ bytes[index]!) & 255]!;
  return (crc ^ 0xffffffff) >>> 0;
}
