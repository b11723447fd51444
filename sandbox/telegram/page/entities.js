import { make } from "./elements.js";

const TAGS = {
  bold: "b", italic: "i", underline: "u", strikethrough: "s", blockquote: "blockquote", expandable_blockquote: "blockquote",
};

// Formatted text as nodes. Entities are given in UTF-16 units, which is how JavaScript counts as well.
export function format(text, entities, hands) {
  const build = (from, to, inside) => {
    const nodes = [];
    let at = from;
    const rest = [...inside];
    while (rest.length) {
      const entity = rest.shift();
      const begin = Math.max(entity.offset, at);
      const end = Math.min(entity.offset + entity.length, to);
      if (begin >= end) continue;
      if (begin > at) nodes.push(document.createTextNode(text.slice(at, begin)));
      const nested = [];
      while (rest.length && rest[0].offset < end) nested.push(rest.shift());
      nodes.push(wrap(entity, text.slice(begin, end), build(begin, end, nested), hands));
      at = end;
    }
    if (at < to) nodes.push(document.createTextNode(text.slice(at, to)));
    return nodes;
  };
  return build(0, text.length, [...(entities || [])].sort((a, b) => a.offset - b.offset || b.length - a.length));
}

function link(url, children, hands) {
  const open = (event) => { event.preventDefault(); hands.open(url); };
  return make("a", { href: url, target: "_blank", rel: "noopener noreferrer", onclick: open }, ...children);
}

// A thing of the text that does something when pressed, by mouse or by Enter and Space.
function pressable(tag, label, act, children) {
  const onkeydown = (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    act(event);
  };
  return make(tag, { class: "pressable", role: "button", tabindex: "0", "aria-label": label, title: label, onclick: act, onkeydown }, ...children);
}

function wrap(entity, text, children, hands) {
  switch (entity.type) {
    case "code": return pressable("code", `Copy ${text}`, () => hands.copy(text), children);
    case "pre": return pressable("pre", `Copy ${text}`, () => hands.copy(text), children);
    case "spoiler": {
      const spoiler = pressable("span", "Show the hidden text", () => {
        spoiler.classList.remove("spoiler");
        spoiler.removeAttribute("role");
        spoiler.removeAttribute("aria-label");
      }, children);
      spoiler.classList.add("spoiler");
      return spoiler;
    }
    case "text_link": return link(entity.url, children, hands);
    case "url": return link(/^[a-z]+:\/\//i.test(text) ? text : "http://" + text, children, hands);
    case "bot_command": { // no <button>: such a box in a line would break it where the text alone would not
      const command = pressable("span", `Send ${text}`, () => hands.send(text), children);
      command.classList.add("command");
      return command;
    }
    default: return make(TAGS[entity.type] || "span", entity.type === "expandable_blockquote" ? { class: "long" } : {}, ...children);
  }
}
