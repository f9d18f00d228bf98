// Markdown as lines: fenced code is left alone.

/**
 * Applies a function to every line outside fenced code.
 * @param {string} markdown @param {(line: string) => string} change @returns {string}
 */
export function mapLines(markdown, change) {
  let fence = "";
  const lines = markdown.split("\n").map((line) => {
    const mark = /^\s*(`{3,}|~{3,})/.exec(line)?.[1] ?? "";
    if (fence === "" && mark === "") return change(line);
    if (fence === "") fence = mark;
    else if (mark.startsWith(fence)) fence = "";
    return line;
  });
  return lines.join("\n");
}

/**
 * The parts of a text below some of its headings of the second level, those headings included, in the order asked for. The beginning of a heading is enough.
 * @param {string} markdown @param {readonly string[]} headings @returns {string}
 */
export function takeSections(markdown, headings) {
  const parts = splitSections(markdown);
  return headings
    .map((heading) => {
      const part = parts.get(heading) ?? [...parts].find(([name]) => name.startsWith(heading))?.[1];
      if (part === undefined) throw new Error(`no heading "${heading}"; there are ${[...parts.keys()].join(", ")}`);
      return part;
    })
    .join("\n\n");
}

/** The first heading of a text. @param {string} markdown @returns {string | undefined} */
export function firstHeading(markdown) {
  return /^# +(.+)$/m.exec(markdown)?.[1]?.trim();
}

/** @param {string} markdown @returns {Map<string, string>} */
function splitSections(markdown) {
  /** @type {Set<number>} */
  const starts = new Set();
  let fenced = false;
  const lines = markdown.split("\n");
  for (const [index, line] of lines.entries()) {
    if (/^\s*(```|~~~)/.test(line)) fenced = !fenced;
    else if (!fenced && /^##? /.test(line)) starts.add(index);
  }
  const edges = [...starts, lines.length];
  return new Map(
    [...starts].map((start, index) => [(lines[start] ?? "").replace(/^#+ +/, "").trim(), lines.slice(start, edges[index + 1]).join("\n").trimEnd()]),
  );
}
