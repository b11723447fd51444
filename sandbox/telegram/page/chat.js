"use strict";
// Everything a user or the bot wrote goes into the page as text nodes and attributes, never as markup.

const $ = (id) => document.getElementById(id);
const picked = () => Number(new URLSearchParams(location.hash.slice(1)).get("user")) || 0;

let state = { bot: {}, users: [], chat: null };
let events = null;
let seenAnswers = null; // how many answers of the open chat were shown already
const waiting = new Map(); // query id -> button key, until answered
const kept = new Map(); // message id -> [JSON, element], so that only what changed is drawn again

function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "class") element.className = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

function toast(text) {
  $("toast").textContent = text;
  $("toast").hidden = false;
  clearTimeout(toast.timer);
  toast.timer = setTimeout(() => { $("toast").hidden = true; }, 3500);
}

function alertBox(text) {
  $("alert-text").textContent = text;
  if (!$("alert").open) $("alert").showModal();
}

async function post(path, body) {
  const response = await fetch("api/" + path, {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  });
  const answer = await response.json();
  if (!response.ok) toast(answer.error || "refused");
  return response.ok ? answer : null;
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    toast("Copied");
  } catch {
    toast("The browser does not let this page copy");
  }
}

function openLink(url) {
  let parsed;
  try { parsed = new URL(url); } catch { toast("Not a link"); return; }
  const start = parsed.hostname === "t.me" && parsed.pathname.slice(1) === state.bot.username
    ? parsed.searchParams.get("start") : null;
  if (start !== null) send("/start " + start);
  else if (parsed.protocol === "http:" || parsed.protocol === "https:") window.open(url, "_blank", "noopener,noreferrer");
  else toast("Telegram would open " + url);
}

function send(text) { return post(`users/${picked()}/send`, { text }); }

// Entities are given in UTF-16 units, which is how JavaScript counts as well.
function format(text, entities = []) {
  const build = (from, to, inside) => {
    const nodes = [];
    let at = from;
    const rest = [...inside];
    while (rest.length) {
      const entity = rest.shift();
      const begin = Math.max(entity.offset, at), end = Math.min(entity.offset + entity.length, to);
      if (begin >= end) continue;
      if (begin > at) nodes.push(document.createTextNode(text.slice(at, begin)));
      const nested = [];
      while (rest.length && rest[0].offset < end) nested.push(rest.shift());
      nodes.push(wrap(entity, text.slice(begin, end), build(begin, end, nested)));
      at = end;
    }
    if (at < to) nodes.push(document.createTextNode(text.slice(at, to)));
    return nodes;
  };
  return build(0, text.length, [...entities].sort((a, b) => a.offset - b.offset || b.length - a.length));
}

const TAGS = { bold: "b", italic: "i", underline: "u", strikethrough: "s", blockquote: "blockquote", expandable_blockquote: "blockquote" };

function link(url, children) {
  return make("a", { href: url, target: "_blank", rel: "noopener noreferrer", onclick: (event) => { event.preventDefault(); openLink(url); } }, ...children);
}

function wrap(entity, text, children) {
  switch (entity.type) {
    case "code": return make("code", { title: "Copy", onclick: () => copy(text) }, ...children);
    case "pre": return make("pre", { title: "Copy", onclick: () => copy(text) }, ...children);
    case "spoiler": return make("span", { class: "spoiler", tabindex: "0" }, ...children);
    case "text_link": return link(entity.url, children);
    case "url": return link(/^[a-z]+:\/\//i.test(text) ? text : "http://" + text, children);
    case "bot_command": return make("button", { type: "button", class: "command", onclick: () => send(text) }, ...children);
    default: return make(TAGS[entity.type] || "span", {}, ...children);
  }
}

function keyButton(message, button, key) {
  const sign = button.url ? " \u2197" : button.copy_text ? " \u29C9" : "";
  const press = async () => {
    if (button.url) return openLink(button.url);
    if (button.copy_text) return copy(button.copy_text.text);
    if (button.web_app) return toast("Mini Apps are not shown here");
    if ([...waiting.values()].includes(key)) return undefined;
    const answer = await post(`users/${picked()}/click`, { message_id: message.message_id, data: button.callback_data });
    if (answer && !state.chat?.answers.some((one) => one.query_id === answer.query_id)) {
      waiting.set(answer.query_id, key);
      setTimeout(() => { waiting.delete(answer.query_id); spin(); }, 15000);
      spin();
    }
    return undefined;
  };
  return make("button", { type: "button", class: button.style || "", "data-key": key, onclick: press },
    button.text, make("span", { class: "sign", "aria-hidden": "true" }, sign));
}

function spin() {
  const keys = new Set(waiting.values());
  for (const button of document.querySelectorAll("[data-key]")) button.classList.toggle("waiting", keys.has(button.dataset.key));
}

function drawMessage(message) {
  const mine = message.from.id !== state.bot.id;
  const text = message.text ?? message.caption ?? "";
  const bubble = make("div", { class: "bubble" });
  if (message.reply_to_message) {
    bubble.append(make("div", { class: "quoted" }, message.reply_to_message.text ?? message.reply_to_message.caption ?? "Photo"));
  }
  if (message.photo) {
    const source = "api/photo/" + encodeURIComponent(message.photo[message.photo.length - 1].file_id);
    bubble.append(make("img", { src: source, alt: message.caption || "Photo", onclick: () => { $("picture-image").src = source; $("picture").showModal(); } }));
  }
  if (text) bubble.append(make("div", { class: "text" }, ...format(text, message.entities || message.caption_entities)));
  const clock = new Date(message.date * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  bubble.append(make("div", { class: "when" }, (message.edit_date ? "edited " : "") + clock));
  const row = make("div", { class: mine ? "row mine" : "row", "data-message": message.message_id }, bubble);
  const rows = message.reply_markup?.inline_keyboard || [];
  if (rows.length) {
    row.append(make("div", { class: "keyboard" }, ...rows.map((line, y) => make("div", {},
      ...line.map((button, x) => keyButton(message, button, `${message.message_id}:${y}:${x}`))))));
  }
  return row;
}

function drawChat() {
  const user = state.users.find((one) => one.id === picked());
  document.body.classList.toggle("in-chat", Boolean(user));
  $("chat").hidden = !user;
  if (!user || !state.chat) return;
  $("bot-name").textContent = state.bot.first_name;
  const actions = { typing: "typing\u2026", upload_photo: "sending a photo\u2026" };
  const place = user.deleted ? "account deleted" : user.blocked ? "bot blocked" : `bot, as ${user.first_name} sees it`;
  $("status").textContent = state.chat.action ? actions[state.chat.action] || "busy\u2026" : place;
  $("block").textContent = user.blocked ? "Unblock" : "Block";
  $("block").disabled = user.deleted;
  $("text").disabled = user.deleted;
  $("commands").replaceChildren(...state.chat.commands.map((one) =>
    make("button", { type: "button", title: one.description, onclick: () => send("/" + one.command) }, "/" + one.command)));

  const box = $("messages");
  const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 60;
  const elements = state.chat.messages.map((message) => {
    const text = JSON.stringify(message);
    const old = kept.get(message.message_id);
    if (old && old[0] === text) return old[1];
    const element = drawMessage(message);
    kept.set(message.message_id, [text, element]);
    return element;
  });
  const empty = make("div", { class: "nothing" }, "Nothing here yet: press Start, or write.");
  const wanted = elements.length ? elements : [empty];
  // Only what differs is touched: a button keeps its focus while other messages change.
  for (const child of [...box.children]) if (!wanted.includes(child)) child.remove();
  wanted.forEach((element, at) => {
    if (box.children[at] !== element) box.insertBefore(element, box.children[at] || null);
  });
  if (atEnd) box.scrollTop = box.scrollHeight;
  spin();
}

function drawAnswers() {
  if (!state.chat) return;
  const answers = state.chat.answers;
  if (seenAnswers !== null) {
    for (const answer of answers.slice(seenAnswers)) {
      if (answer.text) (answer.show_alert ? alertBox : toast)(answer.text);
      if (answer.url) openLink(answer.url);
    }
  }
  for (const answer of answers) waiting.delete(answer.query_id);
  seenAnswers = answers.length;
  spin();
}

function drawUsers() {
  const focused = document.activeElement?.dataset?.user;
  $("users").replaceChildren(...[...state.users].sort((a, b) => b.last_id - a.last_id || a.id - b.id).map((user) => {
    const name = [user.first_name, user.last_name].filter(Boolean).join(" ");
    const face = make("span", { class: "face", "aria-hidden": "true" }, [...name][0] || "?");
    const who = make("span", { class: "who" }, make("span", {}, name),
      make("small", {}, user.last || `${user.id}${user.language_code ? " \u00B7 " + user.language_code : ""}`));
    return make("li", {}, make("button", {
      type: "button", "data-user": user.id, "aria-current": String(user.id === picked()), onclick: () => { location.hash = "user=" + user.id; },
    }, face, who));
  }));
  if (focused) $("users").querySelector(`[data-user="${Number(focused)}"]`)?.focus();
}

async function drawTraffic() {
  if ($("traffic").hidden) return;
  const traffic = await (await fetch("api/traffic")).json();
  $("pending").textContent = traffic.pending ? `${traffic.pending} undelivered` : "";
  const lines = [
    ...traffic.calls.map((call) => ({
      time: call.time, failed: call.code !== 200,
      head: `${call.time.slice(11, 19)} \u2190 ${call.method} ${call.code || "\u2026"}${call.in_response ? " (in the response)" : ""} ${call.description}`,
      body: JSON.stringify(call.params),
    })),
    ...traffic.deliveries.map((one) => ({
      time: one.started, failed: !one.status || one.status >= 300,
      head: `${one.started.slice(11, 19)} \u2192 update ${one.update_id} ${one.status || one.error || "\u2026"} ${Math.round(one.duration * 1000)} ms, attempt ${one.attempt}`,
      body: one.queue + (one.method ? `, answered with ${one.method}` : ""),
    })),
  ].sort((a, b) => (a.time < b.time ? 1 : -1));
  $("lines").replaceChildren(...lines.map((line) => make("li", { class: line.failed ? "failed" : "" }, line.head, make("pre", {}, line.body))));
}

function draw() { drawUsers(); drawChat(); drawAnswers(); drawTraffic(); }

function listen() {
  events?.close();
  seenAnswers = null;
  kept.clear();
  waiting.clear();
  $("messages").replaceChildren();
  events = new EventSource("api/events?user=" + picked());
  events.onmessage = (event) => { state = JSON.parse(event.data); draw(); };
}

function inspect(open) {
  $("traffic").hidden = !open;
  document.body.classList.toggle("inspecting", open);
  $("inspect").setAttribute("aria-expanded", String(open));
  drawTraffic();
}

addEventListener("hashchange", listen);
$("add").addEventListener("submit", async (event) => {
  event.preventDefault();
  const added = await post("users", { first_name: $("add-name").value, language_code: $("add-language").value });
  if (added) { $("add-name").value = ""; location.hash = "user=" + added.id; }
});
$("write").addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = $("text").value;
  if (text.trim() && await send(text)) { $("text").value = ""; $("messages").scrollTop = $("messages").scrollHeight; }
});
$("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); $("write").requestSubmit(); }
});
$("deep-link").addEventListener("submit", (event) => {
  event.preventDefault();
  send(("/start " + $("payload").value).trim());
});
$("block").addEventListener("click", () => {
  const user = state.users.find((one) => one.id === picked());
  if (user) post(`users/${user.id}/${user.blocked ? "unblock" : "block"}`, {});
});
$("back").addEventListener("click", () => { location.hash = ""; });
$("inspect").addEventListener("click", () => inspect($("traffic").hidden));
$("close-traffic").addEventListener("click", () => inspect(false));
listen();
