/** Tables of text for people: columns aligned, numbers to the right. */

/** One column of a table. */
export interface Column {
  readonly title: string;
  readonly align: "left" | "right";
}

/**
 * Lays out rows under their titles, two spaces apart.
 * @param rows cells by column, as text
 * @returns lines without trailing spaces, the last one ended too
 */
export function formatTable(columns: readonly Column[], rows: readonly (readonly string[])[]): string {
  const titles = columns.map((column) => column.title);
  const widths = columns.map((_, index) => Math.max(...[titles, ...rows].map((row) => (row[index] ?? "").length)));
  const formatRow = (row: readonly string[]) =>
    columns
      .map((column, index) => (column.align === "left" ? (row[index] ?? "").padEnd(widths[index]!) : (row[index] ?? "").padStart(widths[index]!)))
      .join("  ")
      .trimEnd();
  const rule = widths.map((width) => "-".repeat(width)).join("  ");
  return [formatRow(titles), rule, ...rows.map(formatRow), ""].join("\n");
}
