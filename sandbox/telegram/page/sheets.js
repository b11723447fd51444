// Sheets over the page: a title, what is in it, a way out. Escape and a press beside it close; the focus goes back.

import { iconButton, make } from "./elements.js";

let number = 0;

export function sheet(title, content, { kind = "", onclose = null } = {}) {
  const opener = document.activeElement;
  const key = opener?.dataset?.key;
  const name = `sheet-${++number}`;
  const close = () => dialog.close();
  const dialog = make("dialog", { class: `sheet ${kind}`.trim(), "aria-labelledby": name },
    make("header", {}, make("h2", { id: name }, title), iconButton("close", "Close", { onclick: close })),
    make("div", { class: "content" }, ...content));
  dialog.addEventListener("click", (event) => { if (event.target === dialog) close(); });
  dialog.addEventListener("close", () => {
    dialog.remove();
    onclose?.();
    if (document.querySelector("dialog[open]")) return;
    // The button may have been drawn anew meanwhile: then its successor gets the focus.
    const back = opener?.isConnected ? opener : key && document.querySelector(`[data-key="${CSS.escape(key)}"]`);
    (back || document.querySelector(".pane.active .text-field"))?.focus();
  });
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

export function alertSheet(title, text) {
  const ok = make("button", { type: "button", class: "primary" }, "OK");
  const opened = sheet(title, [make("p", { class: "said" }, text), make("div", { class: "actions" }, ok)], { kind: "alert" });
  ok.addEventListener("click", () => opened.close());
  ok.focus();
  return opened;
}

// As large as there is room for, and not so large that one scans it from across the room.
export function pictureSheet(source, title, { width, height }) {
  const scale = Math.min((innerWidth - 52) / width, (innerHeight - 140) / height, 600 / Math.max(width, height));
  const picture = make("img", { src: source, alt: title, width: Math.round(width * scale), height: Math.round(height * scale) });
  const opened = sheet(title, [picture], { kind: "picture" });
  picture.addEventListener("click", () => opened.close());
  return opened;
}

export function frameSheet(url, title) {
  const frame = make("iframe", { src: url, title, sandbox: "allow-forms allow-same-origin allow-scripts allow-popups", referrerpolicy: "no-referrer" });
  const tab = make("a", { href: url, target: "_blank", rel: "noopener noreferrer" }, "Open in a tab");
  const opened = sheet(title, [frame, make("footer", {}, make("span", {}, "Sandbox: no real money moves."), tab)], { kind: "frame" });
  // Keys pressed inside the frame stay there. After each answer the focus comes out, so that Escape closes again.
  let loaded = false;
  frame.addEventListener("load", () => {
    if (loaded && document.activeElement === frame) opened.querySelector("header button").focus();
    loaded = true;
  });
  return opened;
}
