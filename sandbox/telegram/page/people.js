// The list of people: everybody the sandbox knows, the newest chat first.

import { live, post } from "./connection.js";
import { $, badge, face, fullName, iconButton, make, moveAlong } from "./elements.js";
import { short } from "./moments.js";
import { route } from "./route.js";

const read = new Map(); // user id -> last message seen while their chat was open

function line(user) {
  if (user.deleted) return "Account deleted";
  if (user.blocked) return "Blocked the bot";
  if (!user.last) return `${user.id}${user.language_code ? " \u00B7 " + user.language_code : ""}`;
  return (user.last_own ? "You: " : "") + user.last;
}

function item(user, reachable) {
  const name = fullName(user);
  const open = route.people.includes(user.id);
  if (open || !read.has(user.id)) read.set(user.id, user.last_id);
  const unread = user.last_id > read.get(user.id);
  const pick = (event) => (event.ctrlKey || event.metaKey ? route.showBeside(user.id) : route.show(user.id));
  const tabindex = reachable ? "0" : "-1";
  return make("li", { class: open ? "open" : "" },
    make("button", { type: "button", class: "person", "data-user": user.id, tabindex, "aria-current": open ? "true" : null, onclick: pick },
      face(user),
      make("span", { class: "who" },
        make("span", { class: "name" }, make("span", { class: "cut" }, name), badge(user), make("time", {}, short(user.last_date, live.state.now))),
        make("span", { class: "last" }, make("span", { class: "cut" }, line(user)), unread ? make("span", { class: "unread" }, make("span", { class: "hidden-words" }, "unread")) : null))),
    open ? null : iconButton("beside", `Open ${name} beside`, { class: "round beside", tabindex, "data-beside": user.id, onclick: () => route.showBeside(user.id) }));
}

export function drawPeople() {
  const list = $("users");
  const focused = document.activeElement?.dataset?.user || document.activeElement?.dataset?.beside;
  const within = list.contains(document.activeElement);
  const users = [...live.state.users].sort((a, b) => b.last_id - a.last_id || a.id - b.id);
  const reachable = Number(focused) || route.active || users[0]?.id;
  list.replaceChildren(...users.map((user) => item(user, user.id === reachable)));
  if (within && focused) list.querySelector(`[data-user="${Number(focused)}"]`)?.focus();
}

export function preparePeople() {
  $("users").addEventListener("keydown", (event) => {
    const items = [...$("users").querySelectorAll(".person")];
    if (event.key === "ArrowRight") document.activeElement.parentElement.querySelector(".beside")?.focus();
    else if (event.key === "ArrowLeft") document.activeElement.parentElement.querySelector(".person")?.focus();
    else if (moveAlong(event, items)) {
      for (const one of $("users").querySelectorAll("button")) one.tabIndex = one.parentElement.contains(document.activeElement) ? 0 : -1;
    }
  });
  $("add").addEventListener("submit", async (event) => {
    event.preventDefault();
    $("add-problem").textContent = "";
    try {
      const added = await post("users", { first_name: $("add-name").value, language_code: $("add-language").value });
      $("add-name").value = "";
      route.show(added.id);
    } catch (error) {
      $("add-problem").textContent = error.message;
    }
  });
}
