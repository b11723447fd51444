// A menu behind a button: arrows move, Escape and a press elsewhere close, the focus goes back to the button.

import { icon, make, moveAlong } from "./elements.js";

export function menuButton(label, items) {
  const list = make("div", { class: "menu", role: "menu", "aria-label": label, hidden: true });
  const button = make("button", { type: "button", class: "round", "aria-label": label, title: label, "aria-haspopup": "menu", "aria-expanded": "false" }, icon("more"));
  const box = make("div", { class: "menu-box" }, button, list);

  const close = (refocus) => {
    if (list.hidden) return;
    list.hidden = true;
    button.setAttribute("aria-expanded", "false");
    if (refocus) button.focus();
  };
  const open = () => {
    list.replaceChildren(...items().map(({ text, danger, act }) => make("button", {
      type: "button", role: "menuitem", tabindex: "-1", class: danger ? "danger" : "", onclick: () => { close(true); act(); },
    }, text)));
    list.hidden = false;
    button.setAttribute("aria-expanded", "true");
    list.firstElementChild?.focus();
  };
  button.addEventListener("click", () => (list.hidden ? open() : close(true)));
  button.addEventListener("keydown", (event) => {
    if (event.key !== "ArrowDown") return;
    event.preventDefault();
    open();
  });
  list.addEventListener("keydown", (event) => {
    if (event.key === "Escape") { event.stopPropagation(); close(true); } else moveAlong(event, [...list.children]);
  });
  box.addEventListener("focusout", (event) => { if (!box.contains(event.relatedTarget)) close(false); });
  return box;
}

// The menu of a message, over the page where the pointer or the focus is.
export function menuAt(x, y, label, items) {
  const before = document.activeElement;
  let closed = false;
  const close = (refocus) => {
    if (closed) return;
    closed = true; // before it goes: taking the focus away with it would close it once more
    list.remove();
    if (refocus) before?.focus();
  };
  const list = make("div", { class: "menu at", role: "menu", "aria-label": label }, ...items.map(({ text, danger, act }) => make("button", {
    type: "button", role: "menuitem", tabindex: "-1", class: danger ? "danger" : "", onclick: () => { close(true); act(); },
  }, text)));
  list.addEventListener("keydown", (event) => {
    if (event.key === "Escape") { event.preventDefault(); close(true); } else moveAlong(event, [...list.children]);
  });
  list.addEventListener("focusout", (event) => { if (!list.contains(event.relatedTarget)) close(false); });
  document.body.append(list);
  list.style.left = `${Math.max(8, Math.min(x, innerWidth - list.offsetWidth - 8))}px`;
  list.style.top = `${Math.max(8, Math.min(y, innerHeight - list.offsetHeight - 8))}px`;
  list.firstElementChild.focus();
}
