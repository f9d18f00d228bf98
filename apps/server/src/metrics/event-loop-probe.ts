/** How late the event loop runs its timers. */

/** Milliseconds between two looks. */
const interval = 10;

/** Lateness since the last look at it. */
export interface LoopDelay {
  /** Seconds; 0 without samples. */
  readonly p99: number;
  readonly maximum: number;
}

/** Measures until it is stopped. */
export interface EventLoopProbe {
  /** Figures since the last call. */
  take(): LoopDelay;
  stop(): void;
}

/** Starts a timer that notes how late it is. @param onSample told the lateness of each look, in seconds */
export function createEventLoopProbe(onSample: (seconds: number) => void): EventLoopProbe {
  let samples: number[] = [];
  let due = performance.now() + interval;
  const timer = setInterval(() => {
    const now = performance.now();
    const late = Math.max(0, now - due) / 1000;
    // A stall of many intervals is seen once, at its end; the looks it swallowed would have been late too, each by less.
    for (let missed = late; missed > 0; missed -= interval / 1000) {
      samples.push(missed);
      onSample(missed);
    }
    if (late === 0) {
      samples.push(0);
      onSample(0);
    }
    due = now + interval;
  }, interval);
  timer.unref();
  return {
    take() {
      const sorted = samples.sort((a, b) => a - b);
      samples = [];
      if (sorted.length === 0) return { p99: 0, maximum: 0 };
      return { p99: sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * 0.99) - 1)]!, maximum: sorted.at(-1)! };
    },
    stop: () => clearInterval(timer),
  };
}
