/** Times subjects side by side: prompts first, then decoding at growing depths. */

import { median } from "./median.js";
import type { ModelRow } from "./model-report.js";
import type { SpeedSubject } from "./speed-subject.js";

/** What is timed. */
export interface SpeedMeasurement {
  readonly threads: number;
  /** Lengths of prompts. */
  readonly prompts: readonly number[];
  readonly depths: readonly number[];
  /** Steps of one timing. */
  readonly steps: number;
  /** Timings of each subject. */
  readonly rounds: number;
  /** Our engine at depth 1, for the share of attention. */
  readonly shallow: SpeedSubject;
  readonly onShare: (share: number, detail: string) => void;
}

/** Prompts are read as often as `rounds` allows within this many tokens, at least once. */
const promptTokens = 2048;

export async function measureSpeed(subjects: readonly SpeedSubject[], options: SpeedMeasurement): Promise<ModelRow[]> {
  const { prompts, depths, onShare } = options;
  const rows: ModelRow[] = [];
  const singles = subjects.filter(({ batch }) => batch === 1);
  const stages = prompts.length + depths.length;
  for (const [index, tokens] of prompts.entries()) {
    rows.push(...(await timePrompts(singles, tokens, { ...options, onShare: (share, detail) => onShare((index + share) / stages, detail) })));
  }
  if (depths.length === 0) return rows;
  for (const subject of singles) await subject.clear();
  await options.shallow.fill(1);
  const seconds = new Map<SpeedSubject, number | undefined>(subjects.map((subject) => [subject, 0]));
  for (const [index, depth] of [...depths].sort((a, b) => a - b).entries()) {
    const share = (part: number, detail: string): void => onShare((prompts.length + index + part) / stages, detail);
    for (const [done, subject] of subjects.entries()) {
      share((0.7 * done) / subjects.length, `${describe(subject)}: filling to ${depth}`);
      const more = await subject.fill(depth);
      const before = seconds.get(subject);
      seconds.set(subject, more === undefined || before === undefined ? undefined : before + more);
    }
    rows.push(...(await timeDecoding(subjects, depth, { ...options, seconds, onShare: (part, detail) => share(0.7 + 0.3 * part, detail) })));
  }
  return rows;
}

async function timePrompts(subjects: readonly SpeedSubject[], tokens: number, { threads, rounds, onShare }: SpeedMeasurement): Promise<ModelRow[]> {
  const repeats = Math.max(1, Math.min(rounds, Math.floor(promptTokens / tokens)));
  const times = subjects.map(() => [] as number[]);
  for (let round = 0; round < repeats; round++) {
    for (const [index, subject] of subjects.entries()) {
      onShare((round + index / subjects.length) / repeats, `${describe(subject)}: reading ${tokens} tokens`);
      await subject.clear();
      const time = await subject.fill(tokens);
      if (time !== undefined) times[index]!.push(time);
    }
  }
  return Promise.all(
    subjects.map(async (subject, index) => ({
      ...(await describeRow(subject, subjects, { depth: tokens, threads })),
      decodeTokensPerSecond: undefined,
      prefillTokensPerSecond: times[index]!.length === 0 ? undefined : tokens / median(times[index]!),
      attentionShare: undefined,
    })),
  );
}

/** Rounds in which every subject decodes a few tokens, so that a slow moment of the machine meets all of them. */
async function timeDecoding(
  subjects: readonly SpeedSubject[],
  depth: number,
  { threads, rounds, steps, shallow, seconds, onShare }: SpeedMeasurement & { readonly seconds: ReadonlyMap<SpeedSubject, number | undefined> },
): Promise<ModelRow[]> {
  const all = [shallow, ...subjects];
  const times = all.map(() => [] as number[]);
  for (let round = 0; round < rounds; round++) {
    for (const [index, subject] of all.entries()) {
      onShare((round + index / all.length) / rounds, `${describe(subject)}: decoding at ${depth}`);
      times[index]!.push(await subject.decode(steps));
    }
  }
  const [shallowTimes, ...subjectTimes] = times.map(median);
  return Promise.all(
    subjects.map(async (subject, index) => {
      const time = subjectTimes[index]!;
      const fillSeconds = seconds.get(subject);
      return {
        ...(await describeRow(subject, subjects, { depth, threads })),
        decodeTokensPerSecond: (subject.batch * steps) / time,
        prefillTokensPerSecond: fillSeconds === undefined || fillSeconds === 0 ? undefined : (subject.batch * depth) / fillSeconds,
        attentionShare: subject.engine === shallow.engine && subject.batch === 1 ? Math.max(0, 1 - shallowTimes! / time) : undefined,
      };
    }),
  );
}

async function describeRow(subject: SpeedSubject, subjects: readonly SpeedSubject[], place: { readonly depth: number; readonly threads: number }): Promise<Omit<ModelRow, "decodeTokensPerSecond" | "prefillTokensPerSecond" | "attentionShare">> {
  const { engine, cache, batch, isLocal } = subject;
  const { cacheBytes, processBytes } = await subject.memory();
  let others = 0;
  if (isLocal) for (const other of subjects) if (other.isLocal && other !== subject) others += (await other.memory()).cacheBytes;
  return { engine, cache, ...place, batch, cacheBytes, residentBytes: processBytes - others };
}

function describe({ engine, cache, batch }: SpeedSubject): string {
  return `${engine} ${cache}${batch === 1 ? "" : ` x ${batch}`}`;
}
