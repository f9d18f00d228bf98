/** Turns the bytes of tokens into text as they come. */

const SPACE = 0x20;

/** A growing text; `drop` true takes one space off its start. */
export function createByteStream(drop: boolean): { push(bytes: Uint8Array): string; end(): string } {
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  let dropping = drop;
  return {
    push(bytes) {
      if (bytes.length === 0) return "";
      const rest = dropping && bytes[0] === SPACE ? bytes.subarray(1) : bytes;
      dropping = false;
      return decoder.decode(rest, { stream: true });
    },
    end: () => decoder.decode(),
  };
}
