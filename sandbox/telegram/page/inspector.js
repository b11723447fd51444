// Every update and every call, with times: what came, what the bot answered, what it asked for, how long each took.

import { live, userOf } from "./connection.js";
import { $, fullName, make } from "./elements.js";
import { lasted, precise } from "./moments.js";
import { route } from "./route.js";

const open = new Set(); // keys of entries whose details are shown
let frozen = null; // what was there when it was paused
let toEnter = false; // opened by its button: the focus is to follow
const drawn = new Map(); // key -> [JSON, element]

const pretty = (value) => JSON.stringify(value, null, 2);

function code(label, value) {
  return make("details", {}, make("summary", {}, label), make("pre", { tabindex: "0", "aria-label": label }, typeof value === "string" ? value : pretty(value)));
}

function answerOf(text) {
  try { return JSON.parse(text); } catch { return text; }
}

function tag(text, kind) { return make("span", { class: `tag ${kind}` }, text); }

function bar(ms, longest) {
  // In fifths of a step, by class: the policy of this page allows no style of one's own.
  const share = longest ? Math.max(1, Math.round((ms / longest) * 20)) : 1;
  return make("span", { class: `bar bar-${share}`, "aria-hidden": "true" });
}

function attemptLine(attempt, longest) {
  const state = attempt.status ?? attempt.error ?? "under way";
  const kind = attempt.delivered ? "good" : attempt.status || attempt.error ? "bad" : "wait";
  const how = attempt.method ? tag(`with ${attempt.method}`, "in") : null;
  return make("li", {}, make("div", { class: "fact" }, tag(String(state), kind), make("span", {}, `attempt ${attempt.attempt}`), how,
    make("span", { class: "ms" }, lasted(attempt.ms)), bar(attempt.ms, longest)), code("Response", answerOf(attempt.answer) || "(empty)"));
}

function callLine(call, longest) {
  const kind = call.code === 0 && !call.failed ? "wait" : call.failed ? "bad" : "good";
  const after = call.after_ms === null ? null : make("span", { class: "after" }, `+${lasted(call.after_ms)}`);
  return make("li", {},
    make("div", { class: "fact" }, tag(call.code ? String(call.code) : "\u2026", kind), make("b", {}, call.method),
      call.in_response ? tag("in response", "in") : null, after, make("span", { class: "ms" }, lasted(call.ms)), bar(call.ms, longest)),
    call.description ? make("p", { class: "why" }, call.description) : null,
    call.unknown_parameters.length ? make("p", { class: "why" }, `unknown parameters: ${call.unknown_parameters.join(", ")}`) : null,
    code("Request", call.params), code("Result", call.result));
}

function headline(entry) {
  if (!entry.kind) return [entry.calls[0].method, "call"];
  return [entry.title || entry.kind, entry.kind.replaceAll("_", " ")];
}

function status(entry) {
  const last = entry.attempts?.at(-1);
  const calls = entry.calls.filter((call) => call.failed);
  if (!entry.kind) return tag(String(entry.calls[0].code || "\u2026"), entry.failed ? "bad" : "good");
  if (entry.state === "delivered") return tag(calls.length ? `${last.status}, call ${calls[0].code}` : String(last.status), calls.length ? "bad" : "good");
  return tag(last?.status || last?.error ? `${last.status || last.error}, ${entry.state}` : entry.state, entry.state === "under way" ? "wait" : "bad");
}

function facts(entry) {
  const parts = [];
  const last = entry.attempts?.at(-1);
  if (last) parts.push(lasted(last.ms));
  if (!entry.kind) parts.push(lasted(entry.calls[0].ms));
  if (entry.attempts?.length > 1) parts.push(`${entry.attempts.length} attempts`);
  if (entry.kind && entry.calls.length) parts.push(`${entry.calls.length} ${entry.calls.length === 1 ? "call" : "calls"}`);
  return parts.join(" \u00B7 ");
}

function details(entry) {
  const longest = Math.max(0, ...(entry.attempts || []).map((one) => one.ms), ...entry.calls.map((one) => one.ms));
  const parts = [];
  if (entry.kind) parts.push(code(`Update ${entry.update_id}`, entry.update));
  if (entry.attempts?.length) parts.push(make("h3", {}, "Webhook"), make("ol", {}, ...entry.attempts.map((one) => attemptLine(one, longest))));
  if (entry.calls.length) parts.push(make("h3", {}, entry.kind ? "Calls" : "Call"), make("ol", {}, ...entry.calls.map((one) => callLine(one, longest))));
  return make("div", { class: "details" }, ...parts);
}

function element(entry) {
  const text = JSON.stringify([entry, open.has(entry.key)]);
  const old = drawn.get(entry.key);
  if (old && old[0] === text) return old[1];
  const [title, kind] = headline(entry);
  const user = userOf(entry.user);
  const shown = open.has(entry.key);
  const toggle = () => {
    if (!open.delete(entry.key)) open.add(entry.key);
    drawInspector();
  };
  const head = make("button", { type: "button", "aria-expanded": String(shown), "data-entry": entry.key, onclick: toggle },
    make("span", { class: "first" }, make("span", { class: `arrow ${entry.kind ? "from" : "to"}`, "aria-hidden": "true" }, entry.kind ? "\u2192" : "\u2190"),
      make("b", { class: "cut" }, title), status(entry)),
    make("span", { class: "second" }, make("time", {}, entry.at ? precise(entry.at) : "not tried yet"), make("span", {}, kind),
      user ? make("span", { class: "cut" }, fullName(user)) : null, make("span", { class: "ms" }, facts(entry))));
  const made = make("li", { class: entry.failed ? "entry failed" : "entry" }, head, shown ? details(entry) : null);
  drawn.set(entry.key, [text, made]);
  return made;
}

function drawPeopleFilter() {
  const filter = $("by-person");
  const users = live.state?.users || [];
  const known = users.map((user) => `${user.id} ${fullName(user)}`).join("\n");
  if (filter.dataset.known === known) return;
  filter.dataset.known = known;
  const picked = filter.value;
  filter.replaceChildren(make("option", { value: "" }, "Everybody"), ...users.map((user) => make("option", { value: user.id }, fullName(user))));
  filter.value = [...filter.options].some((one) => one.value === picked) ? picked : "";
}

// The focus goes in with the person who opened it, past the chats: to the heading, which Tab leaves for the buttons and entries.
export function enterInspector() {
  if (toEnter && route.inspecting) $("inspector-title").focus();
  toEnter = false;
}

export function drawInspector() {
  if (!route.inspecting) return;
  drawPeopleFilter();
  const { entries, pending } = frozen || live.trace;
  const person = Number($("by-person").value);
  const shown = entries.filter((entry) => (!person || entry.user === person) && (!$("only-failed").checked || entry.failed));
  $("pending").textContent = pending ? `${pending} undelivered` : "all delivered";
  $("pending").classList.toggle("bad", pending > 0);
  const wanted = shown.length ? shown.map(element) : [make("li", { class: "nothing" }, "Nothing to show yet.")];
  const list = $("entries");
  const focused = list.contains(document.activeElement) ? document.activeElement.dataset.entry : null;
  for (const child of [...list.children]) if (!wanted.includes(child)) child.remove();
  wanted.forEach((one, at) => { if (list.children[at] !== one) list.insertBefore(one, list.children[at] || null); });
  if (focused && document.activeElement?.dataset?.entry !== focused) list.querySelector(`[data-entry="${CSS.escape(focused)}"]`)?.focus();
}

export function prepareInspector() {
  $("inspect").addEventListener("click", () => {
    route.inspect(!route.inspecting);
    toEnter = route.inspecting;
  });
  $("close-inspector").addEventListener("click", () => { route.inspect(false); $("inspect").focus(); });
  $("by-person").addEventListener("change", drawInspector);
  $("only-failed").addEventListener("change", drawInspector);
  $("pause").addEventListener("click", () => {
    frozen = frozen ? null : live.trace;
    $("pause").setAttribute("aria-pressed", String(Boolean(frozen)));
    $("pause").textContent = frozen ? "Go on" : "Pause";
    drawInspector();
  });
  $("inspector").addEventListener("keydown", (event) => {
    if (event.key === "Escape") { event.preventDefault(); route.inspect(false); $("inspect").focus(); }
  });
}
