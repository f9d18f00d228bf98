/** Byte-pair merges that do what SentencePiece does with scores. */

/**
 * Merges `[left, right]` in order of rank. SentencePiece joins, among neighbours whose joined text is in the vocabulary, those of the highest score;
 * so every way to cut an entry in two parts that can occur is a merge, ranked by the entry's score. Of equal scores the lower id comes first.
 * @param tokens vocabulary entries; `scores[id]` belongs to `tokens[id]`
 */
export function sentencePieceMerges(tokens: readonly string[], scores: readonly number[]): [string, string][] {
  const known = new Set(tokens);
  const order = tokens.map((_, id) => id).sort((a, b) => scores[b]! - scores[a]! || a - b);
  const merges: [string, string][] = [];
  for (const id of order) {
    const characters = Array.from(tokens[id]!);
    if (characters.length < 2) continue;
    let left = "";
    for (let cut = 1; cut < characters.length; cut++) {
      left += characters[cut - 1]!;
      const right = tokens[id]!.slice(left.length);
      // A single character occurs even when it is not in the vocabulary.
      if ((cut === 1 || known.has(left)) && (cut === characters.length - 1 || known.has(right))) merges.push([left, right]);
    }
  }
  return merges;
}
