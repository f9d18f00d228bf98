/**
 * Multi-key retrieval in the manner of RULER's niah_multikey_1 (Hsieh et al. 2024, Apache-2.0): four sentences, each with a number of seven
 * digits for a key, one key asked for, in RULER's wording for a single answer and its noise haystack (one copy of the noise a line). Keys are
 * two words of lists of our own. The prompt ends with a colon, as the sentences have it before their values, so that one answer alone is right.
 * The first number generated must be the value asked for.
 */

import { encodePlain, fitPrompt, NOISE } from "./prompt-text.js";
import { firstNumber } from "./retrieval-task.js";
import type { RetrievalTask } from "./retrieval-task.js";

const KEYS = 4;
const ANSWER_TOKENS = 16;
const ADJECTIVES = ["amber", "brisk", "calm", "distant", "early", "faint", "gentle", "hollow", "icy", "jolly", "keen", "lively", "mellow", "narrow", "open", "plain"];
const NOUNS = ["anchor", "basket", "candle", "drawer", "engine", "forest", "garden", "harbor", "island", "jacket", "kettle", "ladder", "meadow", "needle", "orchard", "pencil"];
const INTRODUCTION = "A special magic number is hidden within the following text. Make sure to memorize it. I will quiz you about the number afterwards.";

/** The multi-key task. */
export const multikeyTask: RetrievalTask = {
  part: "multikey",
  createTrial(model, { length, depth, random }) {
    const adjectives = shuffled(ADJECTIVES, random).slice(0, KEYS);
    const nouns = shuffled(NOUNS, random);
    const pairs = adjectives.map((adjective, index) => ({ key: `${adjective}-${nouns[index]!}`, value: String(1_000_000 + Math.floor(random() * 9_000_000)) }));
    const asked = pairs[0]!;
    // The key asked for is at the depth of the trial, the others anywhere.
    const places = [depth, ...pairs.slice(1).map(() => random())];
    const prompt = fitPrompt(model, {
      what: "multikey",
      room: length - ANSWER_TOKENS,
      write(copies) {
        const needles = pairs.map(({ key, value }, index) => ({ after: Math.round(places[index]! * copies), line: `One of the special magic numbers for ${key} is: ${value}.` }));
        const lines: string[] = [];
        for (let copy = 0; copy <= copies; copy++) {
          for (const { after, line } of needles) if (after === copy) lines.push(line);
          if (copy < copies) lines.push(NOISE);
        }
        return (
          `${INTRODUCTION}\n${lines.join("\n")}\nWhat is the special magic number for ${asked.key} mentioned in the provided text?` +
          ` The special magic number for ${asked.key} mentioned in the provided text is:`
        );
      },
    });
    return {
      prompt,
      answer: encodePlain(model, ` ${asked.value}`),
      expected: asked.value,
      maxTokens: ANSWER_TOKENS,
      passes: (text) => firstNumber(text) === asked.value,
      isDecided: (text) => /\d\D/.test(text),
    };
  },
};

/** A copy in random order (Fisher and Yates). */
function shuffled(words: readonly string[], random: () => number): string[] {
  const order = [...words];
  for (let last = order.length - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1));
    [order[last], order[other]] = [order[other]!, order[last]!];
  }
  return order;
}
