// A figure inside its page: its colours then follow the page's light and dark, which a picture in a file of its own cannot.

/**
 * The figure element of an SVG file. Its style sheet, which is for the file opened by itself, is left out: the page's theme has the same names.
 * @param {string} svg @param {string} description for those who do not see it
 * @returns {string} one line of HTML
 */
export function inlineFigure(svg, description) {
  const drawing = svg
    .slice(svg.indexOf("<svg"))
    .replace(/<style>[^]*?<\/style>/, "")
    .replaceAll(/\s*\n\s*/g, " ")
    .replace("<svg", `<svg role="img" aria-label="${escapeAttribute(description)}"`);
  return `<figure class="figure" v-pre>${drawing}</figure>`;
}

/** @param {string} text */
function escapeAttribute(text) {
  return text.replaceAll("&", "&amp;").replaceAll('"', "&quot;").replaceAll("<", "&lt;");
}
