/** Markup as text, with everything that comes from outside escaped. */

/** Text that is markup already. */
export interface Markup {
  readonly markup: string;
}

/** What elements hold: markup, text to be escaped, or nothing. */
export type Content = Markup | string | number | undefined | readonly Content[];

/** Elements that have no end tag in HTML. */
const VOID = new Set(["meta", "br"]);

/** An element of HTML or SVG; attributes that are undefined are left out, numbers of coordinates are rounded to hundredths. */
export function element(name: string, attributes: Readonly<Record<string, string | number | undefined>> = {}, ...children: readonly Content[]): Markup {
  const written = Object.entries(attributes).flatMap(([key, value]) => (value === undefined ? [] : [` ${key}="${escapeText(typeof value === "number" ? String(Math.round(value * 100) / 100) : value)}"`]));
  const open = `<${name}${written.join("")}>`;
  return { markup: VOID.has(name) ? open : `${open}${render(children)}</${name}>` };
}

/** Markup of content. */
export function render(content: Content): string {
  if (content === undefined) return "";
  if (typeof content === "string" || typeof content === "number") return escapeText(String(content));
  if ("markup" in content) return content.markup;
  return content.map(render).join("");
}

/** Text with the characters that are markup escaped, for elements and attributes. */
export function escapeText(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}
