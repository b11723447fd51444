// Everything shown is text set by textContent: nothing that a customer wrote can become markup.
"use strict";

const at = (id) => document.getElementById(id);
const POLL_MS = 2000;
let state = null;

function element(tag, text, name) {
  const made = document.createElement(tag);
  if (text !== undefined && text !== null) made.textContent = String(text);
  if (name) made.className = name;
  return made;
}

function table(rows, columns, none) {
  if (!rows || rows.length === 0) return element("p", none, "none");
  const made = element("table");
  const head = made.createTHead().insertRow();
  for (const column of columns) head.append(element("th", column.title));
  const body = made.createTBody();
  for (const row of rows) {
    const line = body.insertRow();
    for (const column of columns) {
      const cell = line.insertCell();
      const value = column.value(row);
      if (value instanceof Node) cell.append(value);
      else cell.textContent = value === null || value === undefined ? "" : String(value);
    }
  }
  return made;
}

function button(text, action) {
  const made = element("button", text);
  made.addEventListener("click", () => act(made, action));
  return made;
}

async function act(pressed, action) {
  pressed.disabled = true;
  try {
    at("notice").className = "";
    at("notice").textContent = await action();
  } catch (error) {
    at("notice").className = "bad";
    at("notice").textContent = error.message;
  } finally {
    pressed.disabled = false;
    await refresh();
  }
}

async function post(path, body) {
  const response = await fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body ?? {}) });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

const plain = (name, title) => ({ title: title ?? name, value: (row) => row[name] });

function held(row) {
  if (row.version === null) return row.status === "active" ? "not told yet" : "nothing";
  if (row.wanted) return row.applied_version === row.version ? "in place" : `to be added (${row.attempts} tries)`;
  return `to be removed (${row.attempts} tries)`;
}

function showHealth() {
  const facts = at("health");
  facts.replaceChildren();
  const fact = (name, value, good) => {
    facts.append(element("dt", name), element("dd", value, good ? "good" : "bad"));
  };
  fact("Database", state.database, state.database === "up");
  fact("VPN node", state.node.running ? "up" : "down", state.node.running);
  const missing = state.functions.filter((row) => row.running < row.instances).map((row) => row.name);
  fact("Functions", missing.length ? `down: ${missing.join(", ")}` : `${state.functions.length} up`, missing.length === 0);
  const violations = state.violations ?? [];
  const words = violations.map((one) => `${one.invariant}: ${one.keys.join(", ")}`).join("; ");
  fact("Invariants", violations.length ? words : "all hold", violations.length === 0);
  fact("Updates on their way", state.undelivered_updates, state.undelivered_updates < 10);
  at("node").textContent = state.node.running ? "take the node down" : "bring the node back";
  at("scheduler").textContent = state.scheduler_on ? "stop the scheduler" : "start the scheduler";
}

function show() {
  const ahead = state.ahead_seconds;
  at("clock").textContent = `${state.now.replace("T", " ").slice(0, 19)} UTC` + (ahead ? ` (${(ahead / 86400).toFixed(2)} days ahead)` : "");
  const links = at("links");
  if (!links.hasChildNodes()) {
    for (const [text, url] of Object.entries(state.links)) {
      const link = element("a", text);
      link.href = url;
      link.target = "_blank";
      link.rel = "noopener";
      links.append(link);
    }
  }
  at("real").hidden = !state.real_bot;
  at("real-bot").textContent = state.real_bot ?? "";
  showHealth();
  at("sweeps").replaceChildren(table(state.sweeps, [
    plain("name"), plain("schedule"), plain("last", "last run"), plain("status"), plain("answer"),
    { title: "", value: (row) => button("run now", async () => `${row.name}: ${JSON.stringify(await post(`/sweep/${row.name}`))}`) },
  ], "none"));
  at("subscriptions").replaceChildren(table(state.subscriptions, [
    plain("id"), plain("first_name", "who"), plain("telegram_id", "telegram"), plain("tariff"), plain("source"), plain("status"),
    plain("expires_at", "ends (UTC)"), { title: "on the node", value: held }, plain("last_error", "last error"),
  ], "nobody has access yet"));
  at("orders").replaceChildren(table(state.orders, [
    plain("id"), plain("first_name", "who"), plain("tariff"), plain("period_days", "days"),
    { title: "price", value: (row) => `${(row.price / 100).toFixed(2)} ${row.currency}` }, plain("provider"), plain("status"), plain("created_at", "made (UTC)"),
  ], "no orders yet"));
  at("messages").replaceChildren(table(state.messages, [
    plain("id"), plain("first_name", "to"), plain("kind"), plain("status"), plain("attempts", "tries"), plain("last_error", "last error"),
  ], "no messages yet"));
  const waiting = state.queues.flatMap((queue) => queue.waiting.map((task) => ({ queue: queue.name, ...task })));
  at("queues").replaceChildren(table(waiting, [
    plain("queue"), plain("target"), plain("due", "due (UTC)"), plain("tries"), plain("last", "last answer"),
    { title: "", value: (row) => (row.running ? "running" : button("run now", async () => { await post("/task", { name: row.name }); return "attempted"; })) },
  ], "none"));
  at("attempts").replaceChildren(table(state.attempts, [
    plain("at"), plain("queue"), plain("target"), plain("status"), plain("ms"), plain("reason"),
  ], "none yet"));
}

async function refresh() {
  try {
    const response = await fetch("/state");
    state = await response.json();
    show();
  } catch {
    at("notice").className = "bad";
    at("notice").textContent = "The system is not running any more.";
  }
}

for (const pressed of document.querySelectorAll("#travel button")) {
  pressed.addEventListener("click", () => act(pressed, async () => {
    await post("/travel", { seconds: Number(pressed.dataset.seconds) });
    return "Time has passed. With the scheduler on, the sweeps follow by themselves.";
  }));
}
at("node").addEventListener("click", () => act(at("node"), async () => {
  const down = state.node.running;
  await post(`/node/${down ? "down" : "up"}`);
  return down ? "The node is down." : "The node is back.";
}));
at("scheduler").addEventListener("click", () => act(at("scheduler"), async () => {
  await post(`/scheduler/${state.scheduler_on ? "off" : "on"}`);
  return "";
}));

refresh();
setInterval(refresh, POLL_MS);
