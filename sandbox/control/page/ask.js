// What the buttons ask of the server, what is said about it, and the question before something is destroyed.

import { at, element } from "/dom.js";

let after = async () => {};

export function afterwards(refresh) {
  after = refresh;
}

export async function post(path, body = {}) {
  const response = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error ?? response.statusText);
  return answer;
}

export function say(sentence, bad = false) {
  const notice = at("notice");
  notice.className = bad ? "bad" : "";
  notice.replaceChildren();
  if (!sentence) return;
  const close = element("button", "×", "close");
  close.type = "button";
  close.setAttribute("aria-label", "Dismiss");
  close.addEventListener("click", () => say(""));
  notice.append(element("span", sentence), close);
}

// Runs what a button is for: no second press meanwhile, the outcome said, the page brought up to date, the focus kept.
export async function act(pressed, action) {
  pressed.classList.add("busy");
  pressed.setAttribute("aria-busy", "true");
  const focused = document.activeElement === pressed;
  const row = pressed.closest("td, .line, form");
  const section = pressed.closest("section");
  pressed.disabled = true;
  try {
    const answer = await action();
    if (answer) say(typeof answer === "string" ? answer : answer.said);
  } catch (error) {
    say(error.message, true);
  } finally {
    pressed.classList.remove("busy");
    pressed.removeAttribute("aria-busy");
    pressed.disabled = false;
    if (focused && isNowhere()) pressed.focus({ preventScroll: true });
    await after();
    if (focused && (isNowhere() || document.activeElement === pressed) && !takesFocus(pressed)) focusNear(pressed, row, section);
  }
}

const isNowhere = () => !document.activeElement || document.activeElement === document.body;
const takesFocus = (one) => one.isConnected && !one.disabled && one.checkVisibility();

// Where a button took itself away: the next beside it that can be pressed, or else the heading above it.
function focusNear(pressed, row, section) {
  const buttons = [...(row?.querySelectorAll("button") ?? [])];
  const place = buttons.indexOf(pressed);
  const beside = [...buttons.slice(place + 1), ...buttons.slice(0, Math.max(0, place))].find(takesFocus);
  const heading = (section ?? document.querySelector("header")).querySelector("h1, h2");
  if (!beside) heading.tabIndex = -1;
  (beside ?? heading).focus({ preventScroll: true });
}

export const asks = (path, body) => (pressed) => act(pressed, () => post(path, body));

export function sure(question) {
  const dialog = at("sure");
  at("sure-text").textContent = question;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

export const asksFirst = (question, path, body) => async (pressed) => {
  if (await sure(question)) await act(pressed, () => post(path, body));
};
