/** Scores some requests again, in idle time, with a compressed and an fp16 cache, and tells how far the two are apart. */

/** What is known of a model's fidelity. */
export interface FidelityFigures {
  /** Requests scored. */
  readonly samples: number;
  /** Positions scored in all of them. */
  readonly positions: number;
  /** KL(fp16 || compressed) in nats over the last samples; null before the first. */
  readonly kldMean: number | null;
  readonly kldMax: number | null;
  /** Share of positions whose most likely token is the same; null before the first. */
  readonly top1: number | null;
  readonly threshold: number;
  /** True while `kldMean` is over the threshold. */
  readonly over: boolean;
  /** Requests waiting to be scored. */
  readonly waiting: number;
  /** Scorings that were given up because work came. */
  readonly interrupted: number;
  /** Scorings that failed. */
  readonly failed: number;
  /** Newest last. `at`: ISO 8601. */
  readonly last: readonly { readonly at: string; readonly kld: number; readonly positions: number; readonly tokens: number }[];
}

/** One scored request. */
export interface FidelityScore {
  readonly kldSum: number;
  readonly kldMax: number;
  readonly agreeing: number;
  readonly positions: number;
}

/** Scores a sequence; ends with CANCELLED as soon as the signal is aborted. */
export type ScoreFidelity = (tokens: Int32Array, signal: AbortSignal) => Promise<FidelityScore>;

/** Watches one model. */
export interface FidelityMonitor {
  /** Hands over a finished request, its own tokens only; some are kept to be scored. */
  offer(tokens: Int32Array): void;
  /** Work has come: a scoring under way stops at once, and is done again later. */
  interrupt(): void;
  figures(): FidelityFigures;
  /** Ends it; resolves when nothing runs any more. */
  stop(): Promise<void>;
}

/** What a monitor needs. */
export interface FidelityMonitorOptions {
  readonly share: number;
  /** Shorter requests are left out: nothing of them was compressed yet, and their zeros would hide what longer ones lose. Default 2. */
  readonly leastTokens?: number;
  /** Requests are cut to this many tokens. */
  readonly tokens: number;
  readonly threshold: number;
  readonly score: ScoreFidelity;
  /** True when nothing runs or waits. */
  readonly isIdle: () => boolean;
  /** Told when the mean goes over the threshold, and when it comes back. */
  readonly onThreshold: (figures: FidelityFigures) => void;
  readonly onFailure: (error: unknown) => void;
  /** 0 to 1; decides which requests are kept. Default: `Math.random`. */
  readonly random?: () => number;
  /** How often idleness is looked for, in milliseconds; default 250. */
  readonly lookMilliseconds?: number;
}

/** Figures are over this many samples, the newest. */
const window = 64;
/** Requests that wait to be scored; the oldest is dropped for a new one. */
const queueLength = 8;

/** Starts a monitor. */
export function createFidelityMonitor(options: FidelityMonitorOptions): FidelityMonitor {
  const { share, threshold, score, isIdle, leastTokens = 2, random = Math.random, lookMilliseconds = 250 } = options;
  const queue: Int32Array[] = [];
  const scored: (FidelityScore & { readonly at: string; readonly tokens: number })[] = [];
  const totals = { samples: 0, positions: 0, interrupted: 0, failed: 0 };
  let running: { readonly controller: AbortController; readonly done: Promise<void> } | undefined;
  let over = false;

  const figures = (): FidelityFigures => {
    const positions = scored.reduce((sum, entry) => sum + entry.positions, 0);
    const part = (read: (entry: FidelityScore) => number): number | null => (positions === 0 ? null : scored.reduce((sum, entry) => sum + read(entry), 0) / positions);
    return {
      samples: totals.samples,
      positions: totals.positions,
      kldMean: part(({ kldSum }) => kldSum),
      kldMax: positions === 0 ? null : Math.max(...scored.map(({ kldMax }) => kldMax)),
      top1: part(({ agreeing }) => agreeing),
      threshold,
      over,
      waiting: queue.length,
      interrupted: totals.interrupted,
      failed: totals.failed,
      last: scored.map(({ at, kldSum, positions: count, tokens }) => ({ at, kld: kldSum / count, positions: count, tokens })),
    };
  };
  const add = (result: FidelityScore, tokens: number): void => {
    scored.push({ ...result, at: new Date().toISOString(), tokens });
    if (scored.length > window) scored.shift();
    totals.samples++;
    totals.positions += result.positions;
    const isOver = (figures().kldMean ?? 0) > threshold;
    if (isOver === over) return;
    over = isOver;
    options.onThreshold(figures());
  };
  const scoreNext = async (tokens: Int32Array, signal: AbortSignal): Promise<void> => {
    try {
      add(await score(tokens, signal), tokens.length);
    } catch (error) {
      if (signal.aborted) {
        totals.interrupted++;
        if (queue.length < queueLength) queue.unshift(tokens);
      } else {
        totals.failed++;
        options.onFailure(error);
      }
    }
  };
  const look = (): void => {
    if (running !== undefined || queue.length === 0 || !isIdle()) return;
    const controller = new AbortController();
    const done = scoreNext(queue.shift()!, controller.signal).then(() => void (running = undefined));
    running = { controller, done };
  };
  const timer = setInterval(look, lookMilliseconds);
  timer.unref();
  return {
    offer(tokens) {
      if (tokens.length < leastTokens || random() >= share) return;
      queue.push(tokens.slice(0, options.tokens));
      if (queue.length > queueLength) queue.shift();
    },
    interrupt: () => running?.controller.abort(),
    figures,
    async stop() {
      clearInterval(timer);
      running?.controller.abort();
      await running?.done;
    },
  };
}
