/** What the demo's caches answer: long enough that most of it lies in compressed pages. */

import type { LanguageModel } from "@kvquant/model";
import { encodePrompt } from "../prompt.js";

/** A prompt as tokens, and as much of it as is worth showing. */
export interface DemoPrompt {
  readonly tokens: Int32Array;
  readonly shown: string;
}

const passage = `The lighthouse at Gull Point was built in 1871, after three ships had been lost on the rocks in a single winter. Its lamp first burned whale oil, then paraffin, and since 1936 it has been electric. The tower is 41 metres high and painted in red and white bands, so that sailors can tell it from the grey tower at Harrow Bay, twelve miles to the north. For ninety years it was kept by the Marsh family. The last keeper, Ellen Marsh, lived there alone with two goats and a radio, and wrote down the weather four times a day. When the light was made automatic in 1962 she moved to the village, but she walked out to the tower every Sunday until she was eighty-four. Her weather books, thirty-one of them, are now in the town museum. Scientists use them to learn how storms on this coast have changed: the books show that strong westerly gales come about three weeks later in the autumn than they did a century ago. Visitors can climb the 178 steps to the lamp room from May to September. The view reaches as far as the islands on a clear day, and seals can often be seen on the rocks below.`;
const question = "Who was the last keeper of the lighthouse, and why are her weather books useful today?";
/** Tokens of text that a model without a chat template goes on from. */
const openingTokens = 320;
const shownCharacters = 200;

/** A passage with a question in the model's chat template, or the start of `text` for a model that does not chat. */
export function createDemoPrompt(model: LanguageModel, text: Int32Array): DemoPrompt {
  if (model.tokenizer.chatTemplate !== undefined) {
    return { tokens: encodePrompt(model, { prompt: `${passage}\n\n${question}`, chat: true }), shown: `(after a passage about a lighthouse) ${question}` };
  }
  const opening = model.tokenizer.decode(text.subarray(0, openingTokens));
  return { tokens: encodePrompt(model, { prompt: opening }), shown: `... ${opening.slice(-shownCharacters).trim()}` };
}
