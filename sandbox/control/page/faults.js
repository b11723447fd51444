// Time and faults: the two sections that change the world rather than show it.

import { act, asks, asksFirst, post, say } from "/ask.js";
import { at, element, put, span, write } from "/dom.js";

// By what the server calls them: seconds end in _s, the others are shares and shown in percent.
const FIELDS = [...document.querySelectorAll("#delivery input")].map((field) => field.id);
const inUnits = (name) => (name.endsWith("_s") ? 1 : 100);
const press = (id, action) => at(id).addEventListener("click", (event) => action(event.currentTarget));

for (const pressed of document.querySelectorAll("#travel button")) {
  const seconds = Number(pressed.dataset.seconds);
  pressed.addEventListener("click", () => asks("/travel", { seconds })(pressed));
}
at("pass").addEventListener("submit", (event) => {
  event.preventDefault();
  const pressed = event.submitter ?? at("pass").querySelector("button");
  const seconds = Number(pressed.dataset.seconds);
  const step = Math.min(seconds, Number(at("step").value));
  act(pressed, () => post("/pass", { seconds, step_seconds: step }));
});
press("stop", asks("/pass/stop"));
press("well", asks("/well"));

for (const what of ["down", "hang", "up"]) {
  press(`node-${what}`, (pressed) => asks(`/node/${at("node-name").value}/${what}`)(pressed));
}

at("slow").addEventListener("submit", (event) => {
  event.preventDefault();
  asks("/database/slow", { ms: Number(at("slow-ms").value) })(event.submitter ?? at("slow").querySelector("button"));
});
press("database-hang", asks("/database/hang"));
press("database-cut", asks("/database/cut"));
press("database-heal", asks("/database/heal"));
press("database-crash", asksFirst("Kill PostgreSQL, for everybody, and let it recover?", "/database/crash"));

const forget = () => { for (const name of FIELDS) delete at(name).dataset.touched; };

// Only what was typed is sent: the other fields may be older than what is in force.
at("delivery").addEventListener("submit", (event) => {
  event.preventDefault();
  const typed = FIELDS.filter((name) => at(name).dataset.touched);
  const body = Object.fromEntries(typed.map((name) => [name, Number(at(name).value) / inUnits(name)]));
  act(event.submitter ?? at("delivery").querySelector("button"), async () => {
    const answer = await post("/faults", body);
    forget();
    return answer;
  });
});
for (const name of FIELDS) at(name).addEventListener("input", (event) => { event.target.dataset.touched = "yes"; });

// A field that has the focus is left alone until it is set.
function showShares(faults) {
  for (const name of FIELDS) {
    const field = at(name);
    const value = Math.round(faults[name] * inUnits(name) * 10) / 10;
    const theirs = field.dataset.touched || document.activeElement === field;
    if (!theirs) put(field, "value", String(value));
  }
}

function showPresets(presets) {
  if (at("presets").hasChildNodes()) return;
  for (const preset of presets) {
    const made = element("button", preset.says);
    made.type = "button";
    made.addEventListener("click", () => {
      forget();
      asks(`/faults/${preset.id}`)(made);
    });
    at("presets").append(made);
  }
}

let ended = null; // the number of the last stretch whose end is known

function showTimeTravel(travel) {
  const running = Boolean(travel?.running);
  const over = (travel?.number ?? 0) - (running ? 1 : 0);
  if (ended !== null && over > ended) say(travel.outcome, travel.broke);
  ended = over;
  put(at("time-travel"), "hidden", !running);
  put(at("outcome"), "hidden", running || !travel);
  for (const button of document.querySelectorAll("#pass button, #travel button")) {
    if (!button.classList.contains("busy")) put(button, "disabled", running);
  }
  if (!travel) return;
  put(at("progress"), "value", travel.passed_s / travel.duration_s);
  write(at("passed"), `${span(travel.passed_s)} of ${span(travel.duration_s)}, ${travel.steps} of ${travel.steps_in_all} steps, ${travel.sweeps} sweeps`);
  write(at("stop"), travel.stopping ? "stopping ..." : "stop");
  if (!running) write(at("outcome"), travel.outcome);
}

// How functions reach the database: the page has a way of its own.
export function databaseWords(link) {
  if (!link) return "up";
  return link.state === "up" && link.delay_ms > 0 ? `slow: ${link.delay_ms} ms` : link.state;
}

function able(id, can) {
  if (!at(id).classList.contains("busy")) put(at(id), "disabled", !can);
}

export function showFaults(state) {
  showTimeTravel(state.time_travel);
  showPresets(state.presets);
  showShares(state.faults);
  const up = state.nodes.every((node) => node.state === "up");
  const chosen = state.nodes.find((node) => node.name === at("node-name").value).state;
  write(at("node-state"), state.nodes.map((node) => `${node.name} ${node.state}`).join(", "));
  put(at("node-state"), "className", up ? "good" : "bad");
  able("node-down", chosen !== "down");
  able("node-hang", chosen === "up");
  able("node-up", chosen !== "up");
  const link = state.link;
  const words = databaseWords(link);
  write(at("database-state"), link ? words : "reached directly");
  put(at("database-state"), "className", words === "up" ? "good" : "bad");
  able("slow-ms", Boolean(link));
  able("slow-set", Boolean(link));
  able("database-hang", Boolean(link) && link.state !== "hung");
  able("database-cut", Boolean(link) && link.state !== "cut");
  able("database-heal", Boolean(link) && words !== "up");
}
