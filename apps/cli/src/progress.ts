/** Progress on standard error: a bar in a terminal, a line every few seconds elsewhere, nothing when quiet. */

import { SingleBar } from "cli-progress";
import { formatSeconds } from "./format.js";
import type { Sink } from "./io.js";

/** Reports stages that follow each other. */
export interface Progress {
  /** Runs one stage and shows it, with the time it took at the end; `summarize` adds a few words on how it went. */
  run<Result>(title: string, work: (update: UpdateProgress) => Promise<Result>, summarize?: (result: Result) => string): Promise<Result>;
  /** Writes a line between stages. */
  note(text: string): void;
}

/** Takes the share done so far, 0 to 1, and a few words, such as `window 2 of 8`. */
export type UpdateProgress = (share: number, detail?: string) => void;

/** How a running stage is shown. */
interface Display {
  readonly update: UpdateProgress;
  /** Removes what should not stay on the screen. */
  close(): void;
}

/** How often a line is written where there is no terminal, in milliseconds. */
const lineInterval = 5000;

/** @param options.quiet writes nothing at all */
export function createProgress(sink: Sink, options: { readonly quiet?: boolean | undefined; readonly now?: () => number } = {}): Progress {
  const now = options.now ?? Date.now;
  const write = (text: string) => {
    if (options.quiet !== true) sink.write(text);
  };
  // A bar needs a stream it can move the cursor of; a test's sink is not one.
  const hasBar = sink.isTTY === true && sink === process.stderr && options.quiet !== true;
  return {
    async run(title, work, summarize) {
      const started = now();
      const seconds = () => formatSeconds((now() - started) / 1000);
      const display = hasBar ? showBar(title) : showLines({ title, write, now, seconds });
      let result;
      try {
        result = await work(display.update);
      } finally {
        display.close();
      }
      write(`${title}: ${summarize?.(result) ?? "done"}, ${seconds()}\n`);
      return result;
    },
    note: (text) => write(`${text}\n`),
  };
}

function showLines(stage: { title: string; write: (text: string) => void; now: () => number; seconds: () => string }): Display {
  let shownAt = stage.now();
  let state = "";
  const show = () => {
    if (stage.now() - shownAt < lineInterval) return;
    shownAt = stage.now();
    stage.write(`${stage.title}: ${state}${stage.seconds()}\n`);
  };
  // The timer tells that work goes on even when the work itself has nothing to report.
  const timer = setInterval(show, 1000);
  return {
    update(share, detail) {
      state = `${percent(share)}%, ${detail === undefined ? "" : `${detail}, `}`;
      show();
    },
    close: () => clearInterval(timer),
  };
}

function showBar(title: string): Display {
  const bar = new SingleBar({
    stream: process.stderr,
    format: `${title} [{bar}] {percentage}% {duration} s {detail}`,
    barsize: 24,
    barCompleteChar: "#",
    barIncompleteChar: ".",
    hideCursor: true,
    clearOnComplete: true,
    gracefulExit: false,
  });
  bar.start(100, 0, { detail: "" });
  return { update: (share, detail) => bar.update(percent(share), { detail: detail ?? "" }), close: () => bar.stop() };
}

function percent(share: number): number {
  return Math.floor(Math.min(1, Math.max(0, share)) * 100);
}
