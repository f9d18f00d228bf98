// Light or dark: the system's preference, or a choice that is kept.
import { byId } from "./dom.js";

const choices = ["system", "light", "dark"];
const place = "kvquant.theme";

export function startTheme(onChange) {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const button = byId("theme");
  let choice = localStorage.getItem(place) ?? "system";
  const apply = () => {
    document.documentElement.dataset.theme = choice === "system" ? (dark.matches ? "dark" : "light") : choice;
    button.querySelector(".choice").textContent = choice;
    onChange();
  };
  button.addEventListener("click", () => {
    choice = choices[(choices.indexOf(choice) + 1) % choices.length];
    localStorage.setItem(place, choice);
    apply();
  });
  dark.addEventListener("change", apply);
  apply();
}

/** A colour of the theme in force. */
export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}
