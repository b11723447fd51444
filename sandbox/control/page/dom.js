// Elements that change only where something changed: focus stays, open rows stay open. Text goes in by textContent alone.

export const at = (id) => document.getElementById(id);

export function element(tag, text, name) {
  const made = document.createElement(tag);
  if (text !== undefined && text !== null) made.textContent = String(text);
  if (name) made.className = name;
  return made;
}

export function write(node, text) {
  const wanted = text === null || text === undefined ? "" : String(text);
  if (node.textContent !== wanted) node.textContent = wanted;
}

export function put(node, property, value) {
  if (node[property] !== value) node[property] = value;
}

// One table. A row is known by its `id` and keeps its elements for as long as it is there.
//
// columns: { title, text: (row) => string, mood: (row) => "good" | "bad" | "busy" | "", number: true }
//       or { title, buttons: (row) => [{ text, label, act, off, danger }] }: the same buttons for a row, whatever its state
//       or { title, own: (cell, row) => void }
// detail: { label: (row) => string, fill: (host, row) => void }: a row that opens below, and stays open.
export class Table {
  #rows = new Map();
  #columns;
  #detail;
  #body;
  #none;

  constructor(host, { label, columns, none, detail }) {
    this.#columns = columns;
    this.#detail = detail;
    const frame = element("div", null, "scroll");
    frame.tabIndex = 0;
    frame.setAttribute("role", "region");
    frame.setAttribute("aria-label", label);
    const table = element("table");
    const head = table.createTHead().insertRow();
    for (const column of columns) {
      const title = element("th", column.title, column.number ? "number" : "");
      title.scope = "col";
      if (!column.title) title.setAttribute("aria-label", column.label ?? "actions");
      head.append(title);
    }
    this.#body = table.createTBody();
    this.#none = element("p", none, "none");
    frame.append(table);
    host.append(frame, this.#none);
    this.frame = frame;
  }

  show(rows) {
    const wanted = rows ?? [];
    put(this.frame, "hidden", wanted.length === 0);
    put(this.#none, "hidden", wanted.length !== 0);
    const ids = new Set(wanted.map((row) => String(row.id)));
    for (const [id, kept] of this.#rows) {
      if (!ids.has(id)) {
        kept.line.remove();
        kept.below?.remove();
        this.#rows.delete(id);
      }
    }
    let place = this.#body.firstElementChild;
    for (const row of wanted) {
      const kept = this.#kept(String(row.id));
      kept.row = row;
      place = this.#settle(kept.line, place);
      if (kept.below) place = this.#settle(kept.below, place);
      this.#fill(kept);
    }
  }

  // Moves a line only when it is not where it should be: a moved element loses the focus.
  #settle(line, place) {
    if (line === place) return place.nextElementSibling;
    this.#body.insertBefore(line, place);
    return place;
  }

  #kept(id) {
    let kept = this.#rows.get(id);
    if (!kept) {
      kept = { line: element("tr"), below: null, buttons: new Map(), row: null };
      for (const column of this.#columns) kept.line.append(element("td", null, column.number ? "number" : column.kind ?? ""));
      this.#rows.set(id, kept);
    }
    return kept;
  }

  #fill(kept) {
    this.#columns.forEach((column, number) => {
      const cell = kept.line.cells[number];
      if (column.own) column.own(cell, kept.row);
      else if (column.buttons) this.#buttons(cell, kept, number, column.buttons(kept.row));
      else {
        write(cell, column.text(kept.row));
        const mood = column.mood?.(kept.row) ?? "";
        const name = `${column.number ? "number" : column.kind ?? ""} ${mood}`.trim();
        put(cell, "className", name);
      }
    });
    if (this.#detail) this.#toggle(kept);
    if (kept.below) this.#detail.fill(kept.below.cells[0], kept.row);
  }

  #buttons(cell, kept, column, wanted) {
    wanted.forEach((button, number) => {
      const key = `${column}.${number}`;
      let made = kept.buttons.get(key);
      if (!made) {
        made = element("button", null, button.danger ? "danger" : "");
        made.type = "button";
        made.addEventListener("click", () => made.act(made));
        kept.buttons.set(key, made);
        cell.append(made, " ");
      }
      write(made, button.text);
      made.act = button.act;
      if (made.getAttribute("aria-label") !== button.label) made.setAttribute("aria-label", button.label);
      if (!made.classList.contains("busy")) put(made, "disabled", Boolean(button.off));
      put(made, "hidden", Boolean(button.gone));
    });
  }

  #toggle(kept) {
    if (kept.toggle) return;
    const cell = kept.line.cells[0];
    const text = cell.textContent;
    kept.toggle = element("button", text, "toggle");
    kept.toggle.type = "button";
    kept.toggle.setAttribute("aria-label", this.#detail.label(kept.row));
    kept.toggle.setAttribute("aria-expanded", "false");
    kept.toggle.addEventListener("click", () => {
      const open = !kept.below;
      kept.toggle.setAttribute("aria-expanded", String(open));
      if (open) {
        kept.below = element("tr", null, "below");
        const cell = kept.below.insertCell();
        cell.colSpan = this.#columns.length;
        kept.line.after(kept.below);
        this.#detail.fill(cell, kept.row);
      } else {
        kept.below.remove();
        kept.below = null;
      }
    });
    cell.replaceChildren(kept.toggle);
  }
}

export const text = (name, title = name) => ({ title, text: (row) => row[name] });
export const number = (name, title = name) => ({ title, number: true, text: (row) => row[name] });
export const moment = (name, title = name) => ({ title, kind: "moment", text: (row) => when(row[name]) });

export function when(value) {
  return value ? value.replace("T", " ").slice(0, 19) : "";
}

const UNITS = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];

// Seconds as a person says them: the largest unit and the one below it, rounded to that.
export function span(seconds) {
  if (seconds === null || seconds === undefined) return "";
  const whole = Math.max(0, Math.round(seconds));
  const largest = UNITS.findIndex(([, size]) => whole >= size);
  if (largest === -1) return "0 s";
  const [, finest] = UNITS[Math.min(largest + 1, UNITS.length - 1)];
  let left = Math.round(whole / finest) * finest;
  const parts = [];
  for (const [name, size] of UNITS) {
    const count = Math.floor(left / size);
    left -= count * size;
    if (count) parts.push(`${count} ${name}`);
  }
  return parts.join(" ");
}
