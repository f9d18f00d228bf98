// The page map: one cell for the keys and one for the values of every layer, coloured by bits, filled as far as the cache is.
import { byId, make } from "./dom.js";
import { count } from "./format.js";

const known = [1, 2, 3, 4, 5, 8, 16];
/** The colour of a width: the nearest one that is not narrower. */
const bitsClass = (bits) => `bits-${known.find((width) => bits <= width) ?? 16}`;
const bitsText = (bits) => (bits === 16 ? "fp16" : `${Number(bits.toFixed(2))} bits`);

export function createPageMap() {
  const map = byId("map");
  let drawn = "";
  let stats;
  /** Row and column of the cell that Tab reaches. */
  let focus = { row: 0, column: 0 };
  const rows = ["key", "value"];
  const cellAt = ({ row, column }) => map.querySelectorAll(".map-cells")[row]?.children[column];

  map.addEventListener("keydown", (event) => {
    const moves = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0], Home: [0, -Infinity], End: [0, Infinity] };
    const move = moves[event.key];
    if (move === undefined || stats === undefined) return;
    event.preventDefault();
    const clamp = (value, most) => Math.max(0, Math.min(most, value));
    select({ row: clamp(focus.row + move[0], 1), column: clamp(focus.column + move[1], stats.layers.length - 1) });
    cellAt(focus)?.focus();
  });
  const read = (event) => {
    const cell = event.target.closest?.(".cell");
    if (cell !== null && cell !== undefined) select({ row: Number(cell.dataset.row), column: Number(cell.dataset.column) });
  };
  map.addEventListener("pointerover", read);
  map.addEventListener("focusin", read);

  function select(next) {
    cellAt(focus)?.setAttribute("tabindex", "-1");
    focus = next;
    cellAt(focus)?.setAttribute("tabindex", "0");
    byId("map-detail").textContent = describe(focus);
  }

  function describe({ row, column }) {
    const layer = stats.layers[column];
    const side = rows[row];
    const bits = side === "key" ? layer.keyBits : layer.valueBits;
    return `Layer ${column} of ${stats.layers.length}, ${side}s: ${bitsText(bits)}, ${layer[side]}. ${count(stats.pages)} full pages of 64 tokens, of ${count(stats.tokens)} tokens held.`;
  }

  function draw() {
    map.setAttribute("role", "grid");
    map.setAttribute("aria-label", "Layers and precision");
    const widths = new Set();
    map.replaceChildren(
      ...rows.map((side, row) => {
        const cells = stats.layers.map((layer, column) => {
          const bits = side === "key" ? layer.keyBits : layer.valueBits;
          widths.add(bits);
          const name = bits === 16 ? "16" : String(Number(bits.toFixed(1)));
          return make(
            "div",
            { className: `cell ${bitsClass(bits)}`, role: "gridcell", tabindex: row === focus.row && column === focus.column ? "0" : "-1", "aria-label": `layer ${column}, ${side}s, ${bitsText(bits)}`, data: { row, column } },
            make("span", { className: "cell-fill" }),
            make("span", { className: "cell-edge" }),
            make("span", { className: "cell-bits" }, name),
          );
        });
        return make("div", { className: "map-row", role: "row" }, make("span", { className: "side-name", role: "rowheader" }, side === "key" ? "keys" : "values"), make("div", { className: "map-cells", role: "presentation" }, ...cells));
      }),
    );
    const legend = [...widths].sort((one, other) => one - other).map((bits) => make("li", {}, make("span", { className: `swatch ${bitsClass(bits)}` }), bitsText(bits)));
    byId("map-legend").replaceChildren(...legend, make("li", {}, "height: share of the cache in use"));
  }

  return {
    show(next) {
      stats = next;
      const layout = JSON.stringify(next.layers);
      if (layout !== drawn) {
        drawn = layout;
        focus = { row: 0, column: 0 };
        draw();
      }
      const share = Math.min(1, next.cacheBytes / next.cacheLimit);
      // Anything held shows as something.
      const height = `${next.cacheBytes === 0 ? 0 : Math.max(6, 100 * share)}%`;
      for (const fill of map.querySelectorAll(".cell-fill")) fill.style.height = height;
      byId("map-summary").textContent = `${next.layers.length} layers · ${count(next.pages)} pages`;
    },
  };
}
