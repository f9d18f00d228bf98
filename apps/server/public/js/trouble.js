// What is wrong, said once and until it is over.
import { byId } from "./dom.js";

export function createTrouble() {
  const place = byId("trouble");
  let shown;
  return {
    show(kind, message) {
      shown = kind;
      place.hidden = false;
      if (place.textContent !== message) place.textContent = message;
    },
    clear(kind) {
      if (shown !== kind) return;
      shown = undefined;
      place.hidden = true;
      place.textContent = "";
    },
  };
}
