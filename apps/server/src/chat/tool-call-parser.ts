/** Finds calls written as `<tool_call>{"name": ..., "arguments": {...}}</tool_call>` in streamed text. */

/** A call the model made. */
export interface ParsedCall {
  readonly name: string;
  /** JSON text, as OpenAI's interface has it. */
  readonly arguments: string;
}

/** What a piece of text brought. */
export interface ParsedPiece {
  readonly text: string;
  readonly calls: readonly ParsedCall[];
}

/** Cuts calls out of a text as it comes. */
export interface ToolCallParser {
  push(text: string): ParsedPiece;
  /** What was held back; a call that never ended, or is no JSON, is text. */
  end(): ParsedPiece;
}

const open = "<tool_call>";
const close = "</tool_call>";

/** A parser for one answer. */
export function createToolCallParser(): ToolCallParser {
  let held = "";
  const take = (ended: boolean): ParsedPiece => {
    let text = "";
    const calls: ParsedCall[] = [];
    for (;;) {
      const start = held.indexOf(open);
      if (start < 0) {
        const kept = ended ? 0 : openingLength(held);
        text += held.slice(0, held.length - kept);
        held = held.slice(held.length - kept);
        break;
      }
      const end = held.indexOf(close, start);
      if (end < 0) {
        text += held.slice(0, start);
        held = held.slice(start);
        if (ended) {
          text += held;
          held = "";
        }
        break;
      }
      const call = readCall(held.slice(start + open.length, end));
      if (call === undefined) text += held.slice(0, end + close.length);
      else {
        text += held.slice(0, start);
        calls.push(call);
      }
      held = held.slice(end + close.length);
    }
    return { text, calls };
  };
  return {
    push(text) {
      held += text;
      return take(false);
    },
    end: () => take(true),
  };
}

/** Length of the longest end of `text` that may become the opening tag. */
function openingLength(text: string): number {
  for (let length = Math.min(open.length - 1, text.length); length > 0; length--) if (open.startsWith(text.slice(-length))) return length;
  return 0;
}

function readCall(text: string): ParsedCall | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined; // What the model wrote is no call, so it is shown as it is.
  }
  if (typeof value !== "object" || value === null) return undefined;
  const { name, arguments: given = {} } = value as { readonly name?: unknown; readonly arguments?: unknown };
  if (typeof name !== "string" || name === "") return undefined;
  return { name, arguments: typeof given === "string" ? given : JSON.stringify(given) };
}
