/**
 * Needle in a haystack: the sentence and question of G. Kamradt's LLMTest_NeedleInAHaystack (MIT), put into the text at hand. As there, the
 * needle goes in after the last full stop before its depth. Here the haystack starts at a random place of the text, and the prompt ends
 * with the beginning of the answer, because a base model is not asked but continued. Both halves of the answer must be generated.
 */

import { check } from "@kvquant/spec";
import { windowStart } from "../evaluation-model.js";
import { encodePlain } from "./prompt-text.js";
import type { RetrievalTask } from "./retrieval-task.js";

const NEEDLE = "\nThe best thing to do in San Francisco is eat a sandwich and sit in Dolores Park on a sunny day.\n";
const QUESTION = "\n\nQuestion: What is the best thing to do in San Francisco?\nAnswer: The best thing to do in San Francisco is";
const ANSWER = " eat a sandwich and sit in Dolores Park";
const EXPECTED = ["sandwich", "Dolores Park"];
const ANSWER_TOKENS = 24;

/** The needle task over a text's tokens, repeated where it is shorter than a prompt. */
export function needleTask(text: ArrayLike<number>): RetrievalTask {
  return {
    part: "needle",
    createTrial(model, { length, depth, random }) {
      check(text.length > 0, "needle: haystack", "a text with at least one token", "none");
      const bos = windowStart(model.tokenizer);
      const needle = encodePlain(model, NEEDLE);
      const question = encodePlain(model, QUESTION);
      const answer = encodePlain(model, ANSWER);
      const answerTokens = Math.max(ANSWER_TOKENS, answer.length);
      const room = length - (bos === undefined ? 0 : 1) - needle.length - question.length - answerTokens;
      check(room >= 0, "needle: length", `room for ${length - room} tokens of needle, question and answer`, length);
      const first = Math.floor(random() * text.length);
      const haystack = Array.from({ length: room }, (_, index) => text[(first + index) % text.length]!);
      let cut = Math.floor(room * depth);
      while (cut > 0 && cut < room && !model.tokenizer.decode([haystack[cut - 1]!]).includes(".")) cut--;
      return {
        prompt: Int32Array.from([...(bos === undefined ? [] : [bos]), ...haystack.slice(0, cut), ...needle, ...haystack.slice(cut), ...question]),
        answer,
        expected: EXPECTED.join(", "),
        maxTokens: answerTokens,
        passes: (answerText) => EXPECTED.every((part) => answerText.includes(part)),
        isDecided: (answerText) => EXPECTED.every((part) => answerText.includes(part)) || answerText.includes("\n"),
      };
    },
  };
}
