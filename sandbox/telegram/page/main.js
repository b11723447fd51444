// The page: people, up to three chats side by side, the inspector; what is open is in the address.

import { listen, live } from "./connection.js";
import { $, fullName } from "./elements.js";
import { drawInspector, enterInspector, prepareInspector } from "./inspector.js";
import { Pane } from "./pane.js";
import { drawPeople, preparePeople } from "./people.js";
import { route } from "./route.js";

const panes = new Map();
let shown = route.people;
let wanted = null; // whose chat the focus goes to when it is there

function arrange() {
  const box = $("panes");
  const ids = route.people.filter((id) => live.state.chats[id]);
  for (const [id, pane] of panes) {
    if (ids.includes(id)) continue;
    pane.element.remove();
    panes.delete(id);
  }
  for (const [at, id] of ids.entries()) {
    if (!panes.has(id)) panes.set(id, new Pane(id));
    const pane = panes.get(id);
    if (box.children[at] !== pane.element) box.insertBefore(pane.element, box.children[at] || null);
    pane.element.classList.toggle("active", id === route.active);
    pane.update();
  }
  $("welcome").hidden = ids.length > 0;
  document.body.classList.toggle("in-chat", ids.length > 0);
  document.body.classList.toggle("several", ids.length > 1);
  const names = live.state.users.filter((user) => ids.includes(user.id)).map(fullName);
  document.title = [...names, live.state.bot.first_name].join(" \u00B7 ");
  if (wanted && panes.has(wanted)) {
    panes.get(wanted).focus();
    wanted = null;
  }
}

function draw() {
  $("bot").textContent = live.state.bot.first_name;
  drawPeople();
  arrange();
  if (route.inspecting) drawInspector();
}

function online(on) { $("offline").hidden = on; }

function follow() {
  document.body.classList.toggle("inspecting", route.inspecting);
  $("inspector").hidden = !route.inspecting;
  $("inspect").setAttribute("aria-expanded", String(route.inspecting));
  enterInspector();
  const ids = route.people;
  listen(ids, route.inspecting, { onState: draw, onTrace: drawInspector, onLine: online });
  if (live.state) draw();
}

addEventListener("hashchange", () => {
  const now = route.people;
  if (now.join() !== shown.join()) { // the focus follows the chats, not the inspector, which takes it by itself
    wanted = now.find((id) => !panes.has(id)) || route.active || null;
    if (!now.length) requestAnimationFrame(() => $("users").querySelector('[tabindex="0"]')?.focus());
  }
  shown = now;
  follow();
});
preparePeople();
prepareInspector();
wanted = route.active || null;
follow();
