// The page polls /state and shows it; a section changes only where its values did.

import { afterwards, say } from "/ask.js";
import { showBooks } from "/books.js";
import { at, element, put, span, write } from "/dom.js";
import { databaseWords, showFaults } from "/faults.js";
import { showMachinery } from "/machinery.js";
import { showMoney } from "/money.js";

const POLL_MS = 1000;
const BUSY_UPDATES = 10;
const OLD_TASK_S = 60;
let state = null;
let received = 0;
let lost = false;
const chips = new Map();

function chip(id, anchor, name, value, good) {
  let kept = chips.get(id);
  if (!kept) {
    const item = element("li");
    const link = element("a");
    link.href = `#${anchor}`;
    kept = { item, link, name: element("span", name), value: element("b") };
    link.append(kept.name, " ", kept.value);
    item.append(link);
    at("chips").append(item);
    chips.set(id, kept);
  }
  kept.link.dataset.chip = id;
  write(kept.value, value);
  put(kept.link, "className", good ? "good" : "bad");
}

function showHealth() {
  const up = state.database === "up";
  const health = up ? state.health : null;
  const violated = state.violations?.length ?? 0;
  const reached = databaseWords(state.link);
  chip("database", "faults", "database", up ? reached : `down (${state.database})`, up && reached === "up");
  const nodesUp = state.nodes.filter((node) => node.state === "up").length;
  chip("nodes", "faults", "nodes", `${nodesUp} of ${state.nodes.length}`, nodesUp === state.nodes.length);
  chip("functions", "functions", "functions", `${state.functions_up} of ${state.functions.length}`, state.functions_up === state.functions.length);
  if (health) {
    const late = health.paid_not_applied;
    chip("paid", "access", "paid, not applied", late ? `${late} since ${span(health.paid_oldest_s)}` : "0", late === 0);
    const undone = health.outbox_waiting;
    chip("outbox", "work", "follow-up work", undone ? `${undone}, oldest ${span(health.outbox_oldest_s)}` : "0", (health.outbox_oldest_s ?? 0) < OLD_TASK_S);
    chip("invariants", "invariants", "invariants", violated ? `${violated} violated` : "hold", violated === 0);
  }
  chip("task", "queues", "oldest task", state.oldest_task_s ? span(state.oldest_task_s) : "none", state.oldest_task_s < OLD_TASK_S);
  chip("updates", "work", "updates on their way", state.undelivered_updates, state.undelivered_updates < BUSY_UPDATES);
}

// A system that does not answer shows nothing green: one chip says so, the rest is grey and old.
function showSilence() {
  document.body.classList.toggle("silent", lost);
  if (lost) chip("system", "time", "the system", "does not answer", false);
  for (const [id, kept] of chips) put(kept.item, "hidden", lost ? id !== "system" : id === "system");
}

function showActiveFaults() {
  const faults = state.active_faults;
  const list = at("active-faults-list");
  const shown = [...list.children].map((item) => item.textContent);
  if (shown.join("\n") !== faults.join("\n")) list.replaceChildren(...faults.map((words) => element("li", words)));
  write(at("active-faults-title"), faults.length === 1 ? "1 fault is on" : `${faults.length} faults are on`);
  put(at("active-faults"), "hidden", faults.length === 0);
}

function showLinks() {
  if (at("links").hasChildNodes()) return;
  for (const [text, url] of Object.entries(state.links)) {
    const link = element("a", text);
    link.href = url;
    link.target = "_blank";
    link.rel = "noopener";
    at("links").append(link);
  }
}

function showClock() {
  if (!state || lost) return;
  const now = new Date(Date.parse(state.now) + performance.now() - received);
  const text = now.toISOString();
  put(at("clock"), "dateTime", text);
  write(at("clock"), `${text.replace("T", " ").slice(0, 19)} UTC`);
  put(at("ahead"), "hidden", !state.ahead_seconds);
  write(at("ahead"), `${span(state.ahead_seconds)} ahead`);
}

function showRealBot() {
  put(at("real"), "hidden", !state.real_bot);
  write(at("real-bot"), state.real_bot);
}

function show() {
  showHealth();
  showRealBot();
  showActiveFaults();
  showLinks();
  showClock();
  showFaults(state);
  showMachinery(state);
  showBooks(state);
  showMoney(state);
  document.body.dataset.ready = "yes";
}

let asking = null;

// One question at a time; who asks meanwhile gets the answer to the next one, which is later than what they did.
async function refresh() {
  const before = asking;
  const mine = (async () => {
    await before;
    await look();
  })();
  asking = mine;
  await mine;
  if (asking === mine) asking = null;
}

async function look() {
  try {
    const response = await fetch("/state");
    if (!response.ok) throw new Error(`the page can't be had: ${response.status}`);
    state = await response.json();
    received = performance.now();
    if (lost) say("The system answers again.");
    lost = false;
    showSilence();
  } catch (error) {
    if (!lost) say(error instanceof TypeError ? "The system is not running any more." : error.message, true);
    lost = true;
    showSilence();
    return;
  }
  show();
}

for (const section of document.querySelectorAll("main > section:not([hidden])")) {
  const link = element("a", section.querySelector("h2").textContent);
  link.href = `#${section.id}`;
  at("sections").append(link);
}

// Anchors stop below the header, however high it is.
new ResizeObserver(([header]) => {
  document.documentElement.style.setProperty("--header", `${Math.ceil(header.target.getBoundingClientRect().height)}px`);
}).observe(document.querySelector("header"));

afterwards(refresh);
refresh();
setInterval(() => { if (!document.hidden && !asking) refresh(); }, POLL_MS);
setInterval(showClock, POLL_MS);
document.addEventListener("visibilitychange", () => { if (!document.hidden && !asking) refresh(); });
