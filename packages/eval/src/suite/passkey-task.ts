/**
 * Passkey: a number hidden in repeated sentences. Texts and number range as in KVQuant's evaluation (Hooper et al. 2024, section 4.2, after
 * Mohtashami and Jaggi 2023): the noise is repeated without separators, the parts are joined by line breaks, the key is 1 to 50,000 and
 * the first number in ten generated tokens decides. Here the copies are counted with the model's own tokenizer and trials take turns at the depths.
 */

import { encodePlain, fitPrompt, NOISE } from "./prompt-text.js";
import { firstNumber } from "./retrieval-task.js";
import type { RetrievalTask } from "./retrieval-task.js";

const TASK = "There is an important info hidden inside a lot of irrelevant text. Find it and memorize them. I will quiz you about the important information there.";
const QUESTION = "What is the pass key? The pass key is";
const ANSWER_TOKENS = 10;

/** The passkey task. */
export const passkeyTask: RetrievalTask = {
  part: "passkey",
  createTrial(model, { length, depth, random }) {
    const key = String(1 + Math.floor(random() * 50_000));
    const info = `The pass key is ${key}. Remember it. ${key} is the pass key.`;
    const prompt = fitPrompt(model, {
      what: "passkey",
      room: length - ANSWER_TOKENS,
      write(copies) {
        const before = Math.round(depth * copies);
        return [TASK, NOISE.repeat(before), info, NOISE.repeat(copies - before), QUESTION].join("\n");
      },
    });
    return {
      prompt,
      answer: encodePlain(model, ` ${key}`),
      expected: key,
      maxTokens: ANSWER_TOKENS,
      passes: (text) => firstNumber(text) === key,
      isDecided: (text) => /\d\D/.test(text),
    };
  },
};
