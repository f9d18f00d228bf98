/** What is timed beside others: a cache of ours, or the peer. */

/** Memory of a subject. */
export interface SubjectMemory {
  /** Of the sequences at their present length. */
  readonly cacheBytes: number;
  /** Resident bytes of the process it runs in. */
  readonly processBytes: number;
}

/** Sequences that can be brought to a length, and decoded from again and again. */
export interface SpeedSubject {
  readonly engine: string;
  readonly cache: string;
  /** Sequences decoded in one step. */
  readonly batch: number;
  /** Whether it shares this process with other subjects. */
  readonly isLocal: boolean;
  /** Empties every sequence. */
  clear(): Promise<void>;
  /** Brings every sequence from its present length to `length`; seconds of reading, or undefined when no model read anything. */
  fill(length: number): Promise<number | undefined>;
  /** Seconds of `steps` steps from the present length; nothing of them is kept. */
  decode(steps: number): Promise<number>;
  memory(): Promise<SubjectMemory>;
  dispose(): Promise<void>;
}
