// Elements are made here and only here, with text as text: nothing a model or a server says is ever read as HTML.

export function byId(id) {
  return document.getElementById(id);
}

/** An element with properties and children; strings become text. `className`, `title`, `data` and attributes by their names. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "className") element.className = value;
    else if (name === "data") Object.assign(element.dataset, value);
    else if (value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** Replaces the pairs of a description list. */
export function fillFigures(list, figures) {
  list.replaceChildren(...figures.map(([name, value, title]) => make("div", { title }, make("dt", {}, name), make("dd", {}, value))));
}
