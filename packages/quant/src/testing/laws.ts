/** Laws that every quantizer keeps, as plain functions. */

import { blockLaws } from "./block-laws.js";
import { encodeLaws } from "./encode-laws.js";
import { fitLaws } from "./fit-laws.js";
import type { LawSubject, QuantizerLaw } from "./law.js";

/** All laws. */
export const quantizerLaws: readonly QuantizerLaw[] = [...fitLaws, ...encodeLaws, ...blockLaws];

/** Titles of the broken laws with what is wrong; empty when the quantizer keeps them all. */
export function findBrokenLaws(subject: LawSubject): string[] {
  const broken: string[] = [];
  for (const law of quantizerLaws) {
    let problem: string | undefined;
    try {
      // A page of its own: what one law finds must not depend on what a quantizer did to the page under another.
      problem = law.check({ ...subject, page: { ...subject.page, data: subject.page.data.slice() } });
    } catch (error) {
      problem = `threw ${String(error)}`;
    }
    if (problem !== undefined) broken.push(`${law.title}: ${problem}`);
  }
  return broken;
}

/** Throws an Error naming every broken law. */
export function assertLaws(subject: LawSubject): void {
  const broken = findBrokenLaws(subject);
  if (broken.length > 0) throw new Error(`${subject.quantizer.id} breaks ${broken.length} ${broken.length === 1 ? "law" : "laws"}; a quantizer that keeps them\n${broken.join("\n")}`);
}
