// One message as an element: its bubble, its media, its buttons.

import { fullName, icon, make, moveAlong } from "./elements.js";
import { format } from "./entities.js";
import { menuAt } from "./menu.js";
import { clock, moment } from "./moments.js";
import { bytes, price } from "./money.js";
import { receipt } from "./payment.js";
import { pictureSheet } from "./sheets.js";

const LARGEST = 300; // pixels of a picture's longer side

const fileUrl = (file) => "api/file/" + encodeURIComponent(file.file_id);

export function preview(message) {
  return message.text ?? message.caption ?? message.invoice?.title ?? (message.photo ? "Photo" : "Message");
}

function photo(message) {
  const largest = message.photo[message.photo.length - 1];
  const source = "api/photo/" + encodeURIComponent(largest.file_id);
  const title = message.caption ? `Photo: ${message.caption}` : "Photo";
  // Width and height are told beforehand, so that nothing moves when the picture comes.
  const scale = LARGEST / Math.max(largest.width, largest.height);
  const picture = make("img", { src: source, alt: title, width: Math.round(largest.width * scale), height: Math.round(largest.height * scale) });
  return make("button", {
    type: "button", class: message.has_media_spoiler ? "photo spoiled" : "photo", "aria-label": `Open: ${title}`,
    "data-key": `${message.message_id}:photo`, onclick: () => pictureSheet(source, "Photo", largest),
  }, picture);
}

function document_(file, word) {
  const name = file.file_name || word;
  return make("a", { class: "file", href: fileUrl(file), download: name, "aria-label": `Save ${name}` },
    make("span", { class: "file-sign" }, icon("file")),
    make("span", { class: "file-name" }, name, make("small", {}, [bytes(file.file_size), file.mime_type].filter(Boolean).join(" \u00B7 "))));
}

function player(tag, file, properties) {
  return make(tag, { src: fileUrl(file), controls: true, preload: "metadata", width: file.width, height: file.height, ...properties });
}

function invoice(message) {
  const { title, description, currency, total_amount } = message.invoice;
  return make("div", { class: "invoice" },
    make("strong", {}, title), make("p", {}, description), make("span", { class: "price" }, price(total_amount, currency)));
}

// What a message carries besides words; null for words alone.
function media(message) {
  if (message.photo) return photo(message);
  if (message.animation?.mime_type?.startsWith("image/")) return make("img", { class: "animation", src: fileUrl(message.animation), alt: "GIF", loading: "lazy" });
  if (message.animation) return player("video", message.animation, { "aria-label": "GIF", loop: true });
  if (message.video) return player("video", message.video, { "aria-label": message.video.file_name || "Video" });
  if (message.video_note) return player("video", message.video_note, { "aria-label": "Video message", class: "note" });
  if (message.voice) return player("audio", message.voice, { "aria-label": "Voice message" });
  if (message.audio) return player("audio", message.audio, { "aria-label": message.audio.title || message.audio.file_name || "Audio" });
  if (message.sticker) return make("img", { class: "sticker", src: fileUrl(message.sticker), alt: message.sticker.emoji || "Sticker" });
  if (message.document) return document_(message.document, "File");
  if (message.invoice) return invoice(message);
  return null;
}

function service(message, pane) {
  const paid = message.successful_payment;
  const back = message.refunded_payment;
  const pinned = message.pinned_message;
  if (paid) {
    const text = `${fullName(message.from)} paid ${price(paid.total_amount, paid.currency)}${paid.is_recurring ? " (subscription)" : ""}`;
    return make("button", { type: "button", class: "service", "data-key": `${message.message_id}:receipt`, onclick: () => receipt(pane, [message]) }, text);
  }
  if (pinned) return make("button", { type: "button", class: "service", onclick: () => pane.show(pinned.message_id) }, `${message.from.first_name} pinned \u201C${preview(pinned).slice(0, 40)}\u201D`);
  return back ? make("span", { class: "service" }, `${price(back.total_amount, back.currency)} came back`) : null;
}

const SIGNS = { url: "out", copy_text: "copy", pay: "card", web_app: "out" };

// What tells one press from another: an edit may put another button into the same place while the first still waits.
export function pressOf(message, button) { return `${message.message_id} ${button.callback_data ?? ""}`; }

function key(pane, message, button, name) {
  const kind = Object.keys(SIGNS).find((one) => button[one]);
  return make("button", {
    type: "button", class: `key ${button.style || ""}`.trim(), "data-key": name, "data-press": pressOf(message, button),
    onclick: () => pane.press(message, button),
  }, make("span", {}, button.text), kind ? icon(SIGNS[kind]) : null);
}

// Left and right go along a row, up and down through the rows of the whole chat.
function moveOnKeys(event, pane) {
  const row = [...event.target.closest(".key-row").children];
  if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
    moveAlong(event, row, { previous: "ArrowLeft", next: "ArrowRight" });
    return;
  }
  if (event.key !== "ArrowUp" && event.key !== "ArrowDown") return;
  event.preventDefault();
  const rows = [...pane.box.querySelectorAll(".key-row")];
  const to = rows[rows.indexOf(event.target.closest(".key-row")) + (event.key === "ArrowUp" ? -1 : 1)];
  if (to) to.children[Math.min(row.indexOf(event.target.closest("button")), to.children.length - 1)].focus();
  else if (event.key === "ArrowDown") pane.focus();
}

function keyboard(message, pane) {
  const rows = message.reply_markup?.inline_keyboard || [];
  if (!rows.length) return null;
  return make("div", { class: "keyboard", role: "group", "aria-label": "Buttons", onkeydown: (event) => moveOnKeys(event, pane) },
    ...rows.map((line, y) => make("div", { class: "key-row" },
      ...line.map((button, x) => key(pane, message, button, `${pane.id}:${message.message_id}:${y}:${x}`)))));
}

function quoted(original, pane) {
  return make("button", { type: "button", class: "quoted", onclick: () => pane.show(original.message_id) }, make("b", {}, original.from.first_name), make("span", {}, preview(original)));
}

// Where a forwarded message comes from: a person, one who hides, a channel.
function forwarded({ sender_user, sender_user_name, chat, sender_chat }) {
  const name = sender_user ? fullName(sender_user) : sender_user_name || chat?.title || sender_chat?.title || "unknown user";
  return make("div", { class: "forwarded" }, `Forwarded from ${name}`);
}

// What holding a message, or the right button, offers: Enter does on a message that has the focus.
function hold(message, pane) {
  const open = (event, x, y) => { event.preventDefault(); menuAt(x, y, "Message", pane.deedsOn(message)); };
  return {
    oncontextmenu: (event) => {
      if (!event.target.closest("a, img, video, audio")) open(event, event.clientX, event.clientY);
    },
    onkeydown: (event) => {
      if (event.key !== "Enter" || event.target !== event.currentTarget) return;
      const box = event.target.getBoundingClientRect();
      open(event, box.left + 20, box.top + 20);
    },
  };
}

export function drawMessage(message, pane) {
  const mine = message.from.id === pane.id;
  const told = service(message, pane);
  const properties = { "data-message": message.message_id, tabindex: "-1", ...hold(message, pane), "aria-label": `${message.from.first_name}, ${clock(message.date)}` };
  if (told) return make("article", { class: "row middle", ...properties }, told);
  const text = message.text ?? message.caption ?? "";
  const entities = message.entities || message.caption_entities;
  const hands = { open: (url) => pane.open(url), copy: (words) => pane.copy(words), send: (words) => pane.send(words) };
  const stamp = make("time", { class: "stamp", datetime: new Date(message.date * 1000).toISOString(), title: moment(message.date) },
    (message.edit_date ? "edited " : "") + clock(message.date));
  const words = make("div", { class: message.edit_date ? "words edited" : "words" }, text ? make("span", { class: "text" }, ...format(text, entities, hands)) : null, stamp);
  const shown = media(message);
  const parts = message.show_caption_above_media ? [words, shown] : [shown, words];
  const bubble = make("div", { class: message.photo || message.video || message.animation ? "bubble pictured" : "bubble" },
    message.forward_origin ? forwarded(message.forward_origin) : null,
    message.reply_to_message ? quoted(message.reply_to_message, pane) : null, ...parts);
  return make("article", { class: mine ? "row mine" : "row", ...properties }, bubble, keyboard(message, pane));
}
