// Where a person writes: a text field that grows, and the bot's commands as soon as the text begins with a slash.

import { iconButton, make } from "./elements.js";

let number = 0;

export class Composer {
  constructor(pane) {
    const name = `commands-${++number}`;
    this.pane = pane;
    this.commands = [];
    this.found = [];
    this.at = 0;
    this.closed = true;
    this.field = make("textarea", {
      class: "text-field", rows: "1", maxlength: "4096", placeholder: "Message", "aria-label": "Message",
      "aria-autocomplete": "list", "aria-controls": name, "aria-haspopup": "listbox",
    });
    this.list = make("div", { class: "commands", role: "listbox", id: name, "aria-label": "Commands", hidden: true });
    this.none = make("p", { class: "commands none", role: "status", hidden: true }, "This bot has not set any commands");
    this.opener = iconButton("slash", "Commands", { hidden: true, onclick: () => this.offer() });
    this.sender = iconButton("send", "Send", { class: "round send", onclick: () => this.submit() });
    this.element = make("div", { class: "composer" }, this.list, this.none, make("div", { class: "line" }, this.opener, this.field, this.sender));
    this.field.addEventListener("input", () => { this.closed = false; this.at = 0; this.draw(); });
    this.field.addEventListener("keydown", (event) => this.onKey(event));
    this.field.addEventListener("blur", () => { this.closed = true; this.draw(); });
    this.draw();
  }

  update(commands) {
    if (JSON.stringify(commands) === JSON.stringify(this.commands)) return;
    this.commands = commands;
    this.opener.hidden = !commands.length;
    this.draw();
  }

  offer() {
    if (!this.field.value.startsWith("/")) this.field.value = "/";
    this.closed = false;
    this.at = 0;
    this.field.focus();
    this.draw();
  }

  draw() {
    this.field.style.height = "auto";
    if (this.field.scrollHeight) this.field.style.height = `${this.field.scrollHeight + 2}px`;
    const typed = /^\/(\S*)$/.exec(this.field.value);
    this.found = typed && !this.closed ? this.commands.filter((one) => one.command.startsWith(typed[1].toLowerCase())) : [];
    this.at = Math.min(this.at, Math.max(0, this.found.length - 1));
    this.list.hidden = !this.found.length;
    this.none.hidden = !typed || this.closed || this.commands.length > 0;
    this.list.replaceChildren(...this.found.map((one, at) => make("div", {
      role: "option", id: `${this.list.id}-${at}`, "aria-selected": String(at === this.at),
      onmousedown: (event) => event.preventDefault(), // the field keeps its focus
      onclick: () => this.pick(one),
    }, make("b", {}, "/" + one.command), make("span", {}, one.description))));
    if (this.found.length) {
      this.field.setAttribute("aria-activedescendant", `${this.list.id}-${this.at}`);
      this.list.children[this.at].scrollIntoView({ block: "nearest" });
    } else this.field.removeAttribute("aria-activedescendant");
  }

  onKey(event) {
    if (event.isComposing) return;
    const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (this.found.length && step) {
      event.preventDefault();
      this.at = (this.at + step + this.found.length) % this.found.length;
      this.draw();
    } else if (this.found.length && event.key === "Tab" && !event.shiftKey) {
      event.preventDefault();
      this.field.value = `/${this.found[this.at].command} `;
      this.draw();
    } else if (!(this.list.hidden && this.none.hidden) && event.key === "Escape") {
      event.stopPropagation();
      this.closed = true;
      this.draw();
    } else if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      if (this.found.length) this.pick(this.found[this.at]);
      else this.submit();
    } else if (event.key === "ArrowUp" && !this.field.value) {
      event.preventDefault();
      this.pane.focusButtons();
    }
  }

  pick(command) {
    this.field.value = "";
    this.closed = true;
    this.draw();
    this.field.focus();
    this.pane.send("/" + command.command);
  }

  async submit() {
    const text = this.field.value;
    this.field.focus();
    if (!text.trim()) return;
    this.field.value = "";
    this.closed = true;
    this.draw();
    // What was refused comes back, unless they write something else already.
    if (!await this.pane.send(text) && !this.field.value) { this.field.value = text; this.draw(); }
  }
}
