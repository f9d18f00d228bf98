/** Decides which tokens of which sequences one step computes. */

/** A running sequence as the planner sees it. */
export interface PlannableSequence {
  /** Tokens its cache holds. */
  readonly held: number;
  /** Tokens it has; those from `held` on are to be computed, at least one. */
  readonly known: number;
  /** Of `known`: tokens of the prompt. Later ones are computed one a step, always. */
  readonly prompt: number;
  /** Positions within the prompt where a chunk must end, ascending, two or more apart. */
  readonly cuts: readonly number[];
}

/** Rows of one sequence in a step. */
export interface PlannedRows<Sequence> {
  readonly sequence: Sequence;
  readonly rows: number;
}

/** Rows that must be left when every other sequence decodes, so that some prompt goes on. */
export const LEAST_PROMPT_ROWS = 3;

/**
 * Plans a step of at most `stepTokens` rows: every decoding sequence first, then prompts in the order given, each up to its next cut.
 *
 * A single row is computed with other arithmetic than several (attention on compressed pages against attention on decoded tiles), so that bits depend on which of the two a token went
 * through. Tokens of a prompt always go in chunks of two or more (but for a prompt, or what is left after a session, of one), generated ones one by one: the same token, the same bits.
 */
export function planStep<Sequence extends PlannableSequence>(sequences: readonly Sequence[], stepTokens: number): PlannedRows<Sequence>[] {
  const plan: PlannedRows<Sequence>[] = [];
  let left = stepTokens;
  for (const decoding of [true, false]) {
    for (const sequence of sequences) {
      if (isDecoding(sequence) !== decoding) continue;
      const rows = decoding ? Math.min(1, left) : promptRows(sequence, left);
      if (rows === 0) continue;
      plan.push({ sequence, rows });
      left -= rows;
    }
  }
  return plan;
}

/** Whether the prompt is done and one token a step is computed. */
export function isDecoding({ held, prompt }: Pick<PlannableSequence, "held" | "prompt">): boolean {
  return held >= prompt;
}

/** Rows up to the next cut; never one, and never so many that one is left before it. */
function promptRows({ held, prompt, cuts }: PlannableSequence, left: number): number {
  const due = (cuts.find((position) => position > held) ?? prompt) - held;
  if (due <= left) return due;
  const rows = due - left === 1 ? left - 1 : left;
  return rows < 2 ? 0 : rows;
}
