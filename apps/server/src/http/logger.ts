/** Structured logs: one JSON object a line, or the same for people. */

/** How much is written. */
export type LogLevel = "debug" | "info" | "warn" | "error" | "silent";

/** Writes what happens. `fields` must not hold secrets or the text of requests. */
export interface Logger {
  log(level: Exclude<LogLevel, "silent">, event: string, fields?: Readonly<Record<string, unknown>>): void;
}

const order: readonly LogLevel[] = ["debug", "info", "warn", "error", "silent"];

/** A logger that writes lines. */
export function createLogger(options: { readonly level: LogLevel; readonly format: "json" | "text"; readonly write: (line: string) => void; readonly now?: () => Date }): Logger {
  const { level: lowest, format, write, now = () => new Date() } = options;
  return {
    log(level, event, fields = {}) {
      if (order.indexOf(level) < order.indexOf(lowest)) return;
      const time = now().toISOString();
      const shown = Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
      if (format === "json") return write(`${JSON.stringify({ time, level, event, ...shown })}\n`);
      const words = Object.entries(shown).map(([key, value]) => `${key}=${typeof value === "string" && /^[\w./:-]+$/.test(value) ? value : JSON.stringify(value)}`);
      write(`${time.slice(11, 23)} ${level === "info" ? "" : `${level}: `}${[event, ...words].join(" ")}\n`);
    },
  };
}

/** Fields of an error for a log line. */
export function errorFields(error: unknown): { readonly error: string; readonly stack?: string } {
  if (!(error instanceof Error)) return { error: String(error) };
  const cause = error.cause instanceof Error ? ` (cause: ${error.cause.message})` : "";
  return { error: `${error.message}${cause}`, ...(error.stack !== undefined && { stack: error.stack }) };
}
