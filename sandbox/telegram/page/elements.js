// Elements, made without markup: whatever a user or the bot wrote becomes text nodes and attributes.

export const $ = (id) => document.getElementById(id);

export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

// A drawing of the sprite in index.html; decoration only, its control has a name of its own.
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", "#icon-" + name);
  svg.append(use);
  return svg;
}

export function iconButton(name, label, properties = {}) {
  return make("button", { type: "button", class: "round", "aria-label": label, title: label, ...properties }, icon(name));
}

export function fullName(user) {
  return [user.first_name, user.last_name].filter(Boolean).join(" ");
}

// Eight colours by id, the same every time.
export function face(user) {
  return make("span", { class: `face face-${user.id % 8}`, "aria-hidden": "true" }, [...fullName(user)][0] || "?");
}

export function badge(user) {
  return user.admin ? make("span", { class: "badge" }, "admin") : null;
}

// Arrow keys, Home and End move the focus along `items()`; returns true when the key was such a one.
export function moveAlong(event, items, { previous = "ArrowUp", next = "ArrowDown" } = {}) {
  const at = items.indexOf(document.activeElement);
  const to = { [previous]: at < 0 ? items.length - 1 : at - 1, [next]: at + 1, Home: 0, End: items.length - 1 }[event.key];
  if (to === undefined || !items.length) return false;
  event.preventDefault();
  items[(to + items.length) % items.length].focus();
  return true;
}
