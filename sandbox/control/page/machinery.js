// Functions, sweeps, queues and tasks.

import { act, asks, asksFirst, post } from "/ask.js";
import { at, element, moment, number, put, span, Table, text, when, write } from "/dom.js";

const at_ = (row) => `/function/${row.id}`;
const SOON_MS = 1000;

const functions = new Table(at("functions"), {
  label: "Functions",
  none: "none",
  detail: { label: (row) => `log of ${row.name}`, fill: showLog },
  columns: [
    text("name"),
    { title: "state", text: (row) => row.state, mood: (row) => (row.state === "up" ? "good" : "bad") },
    {
      title: "",
      buttons: (row) => {
        const down = row.state === "down";
        return [
          { text: "kill -9", label: `kill -9 ${row.name}`, act: asks(`${at_(row)}/kill`), off: down },
          { text: "stop", label: `stop ${row.name}`, act: asks(`${at_(row)}/stop`), off: down },
          { text: "start", label: `start ${row.name}`, act: asks(`${at_(row)}/start`), off: !down },
          { text: "kill and start", label: `kill and start ${row.name}`, act: asks(`${at_(row)}/restart`), off: down },
          {
            text: row.state === "frozen" ? "thaw" : "freeze",
            label: `${row.state === "frozen" ? "thaw" : "freeze"} ${row.name}`,
            act: asks(`${at_(row)}/${row.state === "frozen" ? "thaw" : "freeze"}`),
            off: down,
          },
        ];
      },
    },
    { title: "pid", number: true, text: (row) => row.pid },
    { title: "worker", number: true, text: (row) => row.workers.join(" ") },
    { title: "up for", number: true, text: (row) => span(row.uptime_s) },
    { title: "restarts", number: true, text: (row) => row.restarts },
    { title: "workers replaced", number: true, text: (row) => row.replaced, mood: (row) => (row.replaced ? "bad" : "") },
    number("requests"),
    { title: "5xx", number: true, text: (row) => row.errors, mood: (row) => (row.errors ? "bad" : "") },
  ],
});

// A JSON line as a person reads one; anything else as it is.
function logLine(line) {
  let said;
  try {
    said = JSON.parse(line);
  } catch {
    return line;
  }
  if (said === null || typeof said !== "object") return line;
  const { time, severity, event, function: _, ...rest } = said;
  const shown = Object.entries(rest)
    .filter(([, value]) => value !== null && value !== "" && value !== "-")
    .map(([name, value]) => `${name}=${typeof value === "string" ? value : JSON.stringify(value)}`);
  return [when(time), severity, event, ...shown].filter(Boolean).join("  ");
}

async function showLog(host, row) {
  let log = host.querySelector("pre");
  if (!log) {
    log = element("pre");
    log.tabIndex = 0;
    log.setAttribute("aria-label", `last log lines of ${row.name}`);
    host.append(log);
  }
  if (Date.now() - Number(log.dataset.read ?? 0) < SOON_MS) return;
  log.dataset.read = Date.now();
  const response = await fetch(`/log/${row.id}`);
  const said = response.ok ? await response.text() : "no log";
  const follow = log.scrollTop + log.clientHeight >= log.scrollHeight - 4;
  write(log, said.split("\n").map(logLine).join("\n") || "nothing yet");
  if (follow) log.scrollTop = log.scrollHeight;
}

const sweeps = new Table(at("sweeps"), {
  label: "Sweeps",
  none: "none",
  columns: [
    text("id", "name"),
    { title: "ticks", text: (row) => (row.paused ? "unheard" : "heard"), mood: (row) => (row.paused ? "bad" : "") },
    {
      title: "",
      buttons: (row) => [
        {
          text: "run now",
          label: `run now: ${row.id}`,
          act: (pressed) => act(pressed, async () => `${row.id}: ${JSON.stringify(await post(`/sweep/${row.id}`))}`),
        },
        {
          text: row.paused ? "resume" : "pause",
          label: `${row.paused ? "resume" : "pause"} ticks of ${row.id}`,
          act: asks(`/tick/${row.job}/${row.paused ? "resume" : "pause"}`),
        },
      ],
    },
    {
      title: "the next tick is",
      buttons: (row) => [
        { text: "missed", label: `missed: the next tick of ${row.id}`, act: asks(`/tick/${row.job}/miss`) },
        { text: "twice", label: `twice: the next tick of ${row.id}`, act: asks(`/tick/${row.job}/double`) },
        { text: "late", label: `late: the next tick of ${row.id}`, act: asks(`/tick/${row.job}/delay`) },
      ],
    },
    text("schedule"),
    moment("next", "next tick"),
    moment("last", "last run"),
    { title: "status", text: (row) => row.status ?? "", mood: (row) => (row.status && row.status !== 200 ? "bad" : "") },
    number("ms"),
    { title: "answer", kind: "long", text: (row) => row.answer },
  ],
});

const queues = new Table(at("queues"), {
  label: "Queues",
  none: "none",
  columns: [
    text("id", "queue"),
    { title: "state", text: (row) => (row.paused ? "paused" : "runs"), mood: (row) => (row.paused ? "bad" : "good") },
    {
      title: "",
      buttons: (row) => [
        {
          text: row.paused ? "resume" : "pause",
          label: `${row.paused ? "resume" : "pause"} ${row.id}`,
          act: asks(`/queue/${row.id}/${row.paused ? "resume" : "pause"}`),
        },
        {
          text: "purge",
          label: `purge ${row.id}`,
          danger: true,
          off: row.waiting === 0,
          act: asksFirst(`Delete all ${row.waiting} tasks of ${row.id}?`, `/queue/${row.id}/purge`),
        },
      ],
    },
    { title: "waiting", number: true, text: (row) => row.waiting },
    { title: "running", number: true, text: (row) => row.running },
    { title: "oldest", number: true, text: (row) => (row.waiting ? span(row.oldest_s) : "") },
    {
      title: "rate /s",
      number: true,
      text: (row) => (row.enforced < row.rate ? `${row.enforced} of ${row.rate}` : row.rate),
      mood: (row) => (row.enforced < row.rate ? "bad" : ""),
    },
    number("concurrent", "at once"),
    {
      title: "the next task is",
      buttons: (row) => [
        { text: "lost", label: `lost: the next task of ${row.id}`, act: asks(`/next-task/${row.id}/lost`) },
        { text: "twice", label: `twice: the next task of ${row.id}`, act: asks(`/next-task/${row.id}/twice`) },
        { text: "refused", label: `refused: the next task of ${row.id}`, act: asks(`/next-task/${row.id}/refused`) },
        { text: "unclear", label: `unclear: the next task of ${row.id} is kept and answered 503`, act: asks(`/next-task/${row.id}/unclear`) },
      ],
    },
  ],
});

at("queues").append(element("h3", "Tasks that wait"));
const tasks = new Table(at("queues"), {
  label: "Tasks that wait",
  none: "no task waits",
  columns: [
    { title: "task", kind: "code", text: (row) => row.short },
    {
      title: "",
      buttons: (row) => [
        { text: "run now", label: `run now: task ${row.short}`, off: row.running, act: asks("/task/run", { name: row.id }) },
        {
          text: "delete",
          label: `delete task ${row.short}`,
          danger: true,
          act: asksFirst(`Delete task ${row.short} of ${row.queue}?`, "/task/delete", { name: row.id }),
        },
      ],
    },
    text("queue"),
    text("target"),
    moment("due"),
    { title: "overdue", number: true, text: (row) => (row.overdue_s ? span(row.overdue_s) : "") },
    number("tries"),
    { title: "last answer", text: (row) => row.last },
    { title: "", text: (row) => (row.running ? "running" : ""), mood: (row) => (row.running ? "busy" : "") },
  ],
});

const last = element("div", null, "columns");
at("queues").append(last);
const left = element("div");
const right = element("div");
last.append(left, right);
left.append(element("h3", "Last attempts of tasks"));
right.append(element("h3", "Last requests at the gateway"));
const badStatus = (row) => (row.status === null || row.status >= 400 ? "bad" : "");
const attempts = new Table(left, {
  label: "Last attempts of tasks",
  none: "none yet",
  columns: [
    moment("at"), text("queue"), text("target"), number("attempt", "try"),
    { title: "status", text: (row) => row.status ?? row.reason ?? "", mood: badStatus },
    number("ms"),
  ],
});
const requests = new Table(right, {
  label: "Last requests at the gateway",
  none: "none yet",
  columns: [
    text("function"),
    { title: "status", text: (row) => row.status, mood: badStatus },
    number("ms"),
    { title: "on the way", text: (row) => row.fault, mood: () => "bad" },
  ],
});

export function showMachinery(state) {
  functions.show(state.functions);
  sweeps.show(state.sweeps);
  queues.show(state.queues);
  tasks.show(state.queues.flatMap((queue) => queue.tasks));
  attempts.show(state.attempts);
  requests.show(state.requests);
  write(at("scheduler-state"), state.scheduler_on ? "on" : "off");
  write(at("scheduler"), state.scheduler_on ? "stop the scheduler" : "start the scheduler");
  put(at("scheduler"), "value", state.scheduler_on ? "off" : "on");
}

at("scheduler").addEventListener("click", (event) => asks(`/scheduler/${event.target.value}`)(event.target));
