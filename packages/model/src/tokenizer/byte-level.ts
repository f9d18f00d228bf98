/** GPT-2's spelling of bytes as printable characters, and SentencePiece's. */

const encoder = new TextEncoder();
const SENTENCEPIECE_SPACE = /\u2581/g;

/** Byte of each stand-in: printable Latin-1 stands for itself, the other 68 bytes in order for U+0100 and up. */
const byteOf = new Map<string, number>();
let next = 256;
for (let byte = 0; byte < 256; byte++) {
  const printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
  byteOf.set(String.fromCharCode(printable ? byte : next++), byte);
}

/** Bytes of a byte-level vocabulary entry; characters that are no stand-ins give their UTF-8. */
export function bytesOfByteLevel(token: string): Uint8Array {
  const bytes: number[] = [];
  for (const character of token) {
    const byte = byteOf.get(character);
    if (byte === undefined) bytes.push(...encoder.encode(character));
    else bytes.push(byte);
  }
  return Uint8Array.from(bytes);
}

/** Bytes of a SentencePiece vocabulary entry: `<0x0A>` is one byte, `▁` a space. */
export function bytesOfSentencePiece(token: string): Uint8Array {
  const byte = /^<0x([0-9A-Fa-f]{2})>$/.exec(token);
  return byte ? Uint8Array.of(Number.parseInt(byte[1]!, 16)) : encoder.encode(token.replace(SENTENCEPIECE_SPACE, " "));
}
