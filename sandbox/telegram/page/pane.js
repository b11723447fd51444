// One person's chat with the bot: header, messages, and where they write or start.

import { Composer } from "./composer.js";
import { live, post, userOf } from "./connection.js";
import { badge, face, fullName, icon, iconButton, make, moveAlong } from "./elements.js";
import { copy, openLink } from "./links.js";
import { menuButton } from "./menu.js";
import { drawMessage, pressOf } from "./messages.js";
import { day, sameDay } from "./moments.js";
import { stars } from "./money.js";
import { payInvoice, receipt, subscriptions } from "./payment.js";
import { route } from "./route.js";
import { alertSheet, sheet } from "./sheets.js";

const AT_END = 60; // pixels from the end that still count as the end
const SPIN_MS = 15000;
const TOAST_MS = 4000;
const DAY_MS = 1200;
const ACTIONS = {
  typing: "typing", upload_photo: "sending a photo", upload_document: "sending a file", upload_video: "sending a video",
  record_voice: "recording a voice message", upload_voice: "sending a voice message", find_location: "looking for a place",
};

export class Pane {
  constructor(id) {
    this.id = id;
    this.kept = new Map(); // message id -> [JSON, element], so that only what changed is drawn again
    this.waiting = new Map(); // query id -> the press, until answered
    this.onstate = null; // what an open sheet does with news
    this.seen = null; // query ids whose answers were shown
    this.name = make("strong", {});
    this.status = make("small", { class: "status" });
    this.person = make("span", { class: "face-slot" });
    this.box = make("div", { class: "messages", role: "log", "aria-live": "polite", tabindex: "0" });
    this.jump = make("button", { type: "button", class: "jump", hidden: true, onclick: () => this.toEnd() }, icon("down"), "New messages");
    this.toastBox = make("div", { class: "toast", role: "status", hidden: true });
    this.composer = new Composer(this);
    this.foot = make("footer", {});
    this.element = make("section", { class: "pane", "data-pane": id },
      make("header", {},
        iconButton("back", "Back to the list", { class: "round back", onclick: () => route.leaveAll() }),
        this.person, make("div", { class: "title" }, this.name, this.status),
        menuButton("More", () => this.more()),
        iconButton("close", "Close this chat", { class: "round leave", onclick: () => route.leave(id) })),
      make("div", { class: "middle" }, this.box, this.jump, this.toastBox),
      this.foot);
    this.stays = true; // at the end, where a new width or height keeps it
    this.box.addEventListener("scroll", () => {
      this.stays = this.atEnd();
      if (this.stays) this.jump.hidden = true;
    });
    new ResizeObserver(() => { if (this.stays) this.toEnd(); }).observe(this.box);
    for (const kind of ["wheel", "touchmove"]) this.box.addEventListener(kind, () => this.showDay(), { passive: true });
    this.element.addEventListener("focusin", () => this.activate());
    this.element.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !event.defaultPrevented && this.box.contains(event.target)) this.focus();
      // From message to message, once the focus is on the chat or on one of them.
      const rows = [...this.box.querySelectorAll("[data-message]")];
      if ((event.target === this.box && event.key === "ArrowUp") || rows.includes(event.target)) moveAlong(event, rows);
    });
  }

  activate() {
    route.active = this.id;
    for (const one of document.querySelectorAll(".pane")) one.classList.toggle("active", one === this.element);
  }

  // -- what a person does ---------------------------------------------------------------------------------------------

  async act(what, body) {
    try {
      return await post(`users/${this.id}/${what}`, body);
    } catch (error) {
      this.toast(error.message);
      return null;
    }
  }

  async send(text) {
    const sent = await this.act("send", { text });
    if (sent) this.toEnd();
    return sent;
  }

  async start(payload = "") {
    const sent = await this.act("start", { payload });
    if (sent) { this.toEnd(); this.focus(); }
    return sent;
  }

  async copy(text) { this.toast(await copy(text)); }

  open(url) { openLink(url, this); }

  async press(message, button) {
    const key = pressOf(message, button);
    if (button.pay) return this.pay(message, button);
    if (button.url) return this.open(button.url);
    if (button.copy_text) return this.copy(button.copy_text.text);
    if (button.web_app) return this.toast("Mini Apps are not shown here");
    if ([...this.waiting.values()].includes(key)) return undefined;
    this.waiting.set(key, key); // from the press on, not from the answer to it
    this.spin();
    const answer = await this.act("click", { message_id: message.message_id, data: button.callback_data });
    this.waiting.delete(key);
    const answered = live.state.chats[this.id]?.answers.some((one) => one.query_id === answer?.query_id);
    if (answer && !answered) {
      this.waiting.set(answer.query_id, key);
      setTimeout(() => { this.waiting.delete(answer.query_id); this.spin(); }, SPIN_MS);
    }
    this.spin();
    return undefined;
  }

  pay(message, button) {
    const chat = live.state.chats[this.id].messages;
    if (button.text !== "Receipt") return payInvoice(this, message);
    // The invoice keeps its payload to itself: the first payment of its size after it tells, and then all with that payload.
    const { currency, total_amount } = message.invoice;
    const payments = chat.filter((one) => one.successful_payment && one.message_id > message.message_id);
    const first = payments.find(({ successful_payment: paid }) => paid.currency === currency && paid.total_amount >= total_amount);
    return receipt(this, payments.filter((one) => one.successful_payment.invoice_payload === first?.successful_payment.invoice_payload));
  }

  more() {
    const user = userOf(this.id);
    if (!user || user.deleted) return [{ text: "Close this chat", act: () => route.leave(this.id) }];
    return [
      { text: user.started ? "Restart" : "Start", act: () => this.start() },
      { text: "Start by a deep link\u2026", act: () => this.deepLink() },
      ...(live.state.chats[this.id].subscriptions.length ? [{ text: "Star subscriptions\u2026", act: () => subscriptions(this) }] : []),
      user.blocked ? { text: "Unblock the bot", act: () => this.act("unblock") } : { text: "Block the bot", danger: true, act: () => this.act("block") },
      { text: "Delete the account\u2026", danger: true, act: () => this.confirmDelete() },
    ];
  }

  deepLink() {
    const field = make("input", {
      maxlength: "64", pattern: "[A-Za-z0-9_\\-]{1,64}", required: true, autocomplete: "off", spellcheck: "false", "aria-label": "Parameter of the link", placeholder: "r_abc",
    });
    const go = make("form", { method: "dialog", class: "deep-link", onsubmit: () => { this.start(field.value.trim()); } },
      make("p", {}, "A user opened ", make("code", {}, `t.me/${live.state.bot.username}?start=\u2026`), " and pressed Start."),
      field, make("small", {}, "1 to 64 of A-Z a-z 0-9 _ and -"),
      make("div", { class: "actions" }, make("button", { class: "primary" }, "Start")));
    sheet("Start by a deep link", [go]);
    field.focus();
  }

  deedsOn(message) {
    const text = message.text ?? message.caption ?? "";
    const mine = message.from.id === this.id;
    return [
      ...(text ? [{ text: "Copy text", act: () => this.copy(text) }] : []),
      ...(mine && message.text ? [{ text: "Edit\u2026", act: () => this.editText(message) }] : []),
      { text: "Delete for both", danger: true, act: () => this.act("erase", { message_id: message.message_id }) },
    ];
  }

  editText(message) {
    const field = make("textarea", { class: "edit", rows: "4", maxlength: "4096", "aria-label": "Text" });
    field.value = message.text;
    const save = async () => {
      opened.close();
      if (field.value.trim() !== message.text) await this.act("edit", { message_id: message.message_id, text: field.value });
    };
    const opened = sheet("Edit the message", [field, make("div", { class: "actions" }, make("button", { type: "button", class: "primary", onclick: save }, "Save"))]);
    field.focus();
  }

  confirmDelete() {
    const opened = sheet("Delete the account?", [
      make("p", {}, `${fullName(userOf(this.id))} leaves Telegram for good. The bot is told nothing; its next message is refused.`),
      make("div", { class: "actions" },
        make("button", { type: "button", onclick: () => opened.close() }, "Cancel"),
        make("button", { type: "button", class: "danger", onclick: () => { opened.close(); this.act("delete"); } }, "Delete")),
    ]);
  }

  // -- what they see ---------------------------------------------------------------------------------------------------

  toast(text) {
    this.toastBox.textContent = text;
    this.toastBox.hidden = false;
    clearTimeout(this.toastTimer);
    this.toastTimer = setTimeout(() => { this.toastBox.hidden = true; }, TOAST_MS);
  }

  spin() {
    const keys = new Set(this.waiting.values());
    for (const button of this.box.querySelectorAll(".key")) {
      if (keys.has(button.dataset.press)) button.setAttribute("aria-busy", "true");
      else button.removeAttribute("aria-busy");
    }
  }

  atEnd() { return this.box.scrollHeight - this.box.scrollTop - this.box.clientHeight < AT_END; }

  toEnd() {
    this.box.scrollTop = this.box.scrollHeight;
    this.jump.hidden = true;
  }

  showDay() {
    this.box.classList.add("scrolled");
    clearTimeout(this.dayTimer);
    this.dayTimer = setTimeout(() => this.box.classList.remove("scrolled"), DAY_MS);
  }

  focus() {
    const writes = this.foot.contains(this.composer.field);
    // On a touch screen the keyboard would come up over half of the chat.
    if (writes && matchMedia("(pointer: coarse)").matches) { this.box.focus(); return; }
    const target = writes ? this.composer.field : this.foot.querySelector("button");
    (target || this.box).focus();
  }

  focusButtons() {
    const rows = this.box.querySelectorAll(".key-row");
    rows[rows.length - 1]?.firstElementChild.focus();
  }

  update() {
    const user = userOf(this.id);
    const chat = live.state.chats[this.id];
    if (!user || !chat) return;
    this.drawHead(user, chat);
    this.drawMessages(chat.messages);
    this.drawFoot(user, chat);
    this.drawAnswers(chat.answers);
    this.onstate?.();
  }

  drawHead(user, chat) {
    const name = fullName(user);
    this.element.setAttribute("aria-label", `Chat of ${name}`);
    this.box.setAttribute("aria-label", `Messages of ${name}`);
    const head = JSON.stringify([name, user.admin]);
    if (head !== this.head) {
      this.head = head;
      this.person.replaceChildren(face(user));
      this.name.replaceChildren(make("span", { class: "cut" }, name), badge(user) || "");
    }
    clearTimeout(this.actionTimer);
    if (chat.action_left) this.actionTimer = setTimeout(() => { chat.action_left = 0; this.drawHead(user, chat); }, chat.action_left * 1000);
    const place = user.deleted ? "account deleted" : user.blocked ? "the bot is blocked" : `with ${live.state.bot.first_name} \u00B7 ${stars(user.stars)}`;
    const busy = chat.action && chat.action_left > 0;
    this.status.classList.toggle("busy", Boolean(busy));
    this.status.textContent = busy ? `${live.state.bot.first_name} is ${ACTIONS[chat.action] || "busy"}\u2026` : place;
  }

  drawMessages(messages) {
    const last = messages.length ? messages[messages.length - 1] : null;
    const wasAtEnd = this.atEnd();
    const anchor = wasAtEnd ? null : this.firstVisible();
    const focused = this.box.contains(document.activeElement) ? document.activeElement : null;
    const key = focused?.dataset.key;
    const place = focused?.closest("[data-message]")?.dataset.message;
    const wanted = [];
    let before = null;
    for (const message of messages) {
      if (!before || !sameDay(before.date, message.date)) wanted.push(this.separator(message.date));
      const element = this.drawn(message);
      element.classList.toggle("grouped", Boolean(message.media_group_id) && before?.media_group_id === message.media_group_id);
      wanted.push(element);
      before = message;
    }
    if (!wanted.length) wanted.push(this.nothing());
    // Only what differs is touched: a button keeps its focus while other messages change.
    for (const child of [...this.box.children]) if (!wanted.includes(child)) child.remove();
    wanted.forEach((element, at) => {
      if (this.box.children[at] !== element) this.box.insertBefore(element, this.box.children[at] || null);
    });
    this.spin();
    if (focused && !focused.isConnected) this.refocus(key, place);
    if (wasAtEnd) this.box.scrollTop = this.box.scrollHeight;
    else if (anchor) this.keepPlace(anchor);
    if (last && this.lastId !== undefined && last.message_id > this.lastId && !wasAtEnd) this.jump.hidden = false;
    if (last) this.lastId = last.message_id;
  }

  drawn(message) {
    const text = JSON.stringify(message);
    const old = this.kept.get(message.message_id);
    if (old && old[0] === text) return old[1];
    const element = drawMessage(message, this);
    if (this.lastId !== undefined && !old) element.classList.add("fresh");
    this.kept.set(message.message_id, [text, element]);
    return element;
  }

  separator(date) {
    const words = day(date, live.state.now);
    const key = new Date(date * 1000).toDateString();
    const old = this.kept.get(key);
    if (old && old[0] === words) return old[1];
    const element = make("div", { class: "day", role: "separator", "aria-label": words }, make("span", {}, words));
    this.kept.set(key, [words, element]);
    return element;
  }

  nothing() {
    this.blank ??= make("div", { class: "nothing" }, make("span", { class: "emblem", "aria-hidden": "true" }, "A"),
      make("strong", {}, live.state.bot.first_name), make("p", {}, "No messages here yet. Press Start to meet the bot, as a new person does."));
    return this.blank;
  }

  show(messageId) {
    const row = this.box.querySelector(`[data-message="${messageId}"]`);
    row?.scrollIntoView({ block: "center" });
    row?.focus({ preventScroll: true });
  }

  firstVisible() {
    const top = this.box.scrollTop;
    const row = [...this.box.querySelectorAll("[data-message]")].find((one) => one.offsetTop + one.offsetHeight > top);
    return row ? { id: row.dataset.message, above: row.offsetTop - top } : null;
  }

  keepPlace({ id, above }) {
    const row = this.box.querySelector(`[data-message="${id}"]`);
    if (row) this.box.scrollTop = row.offsetTop - above;
  }

  // The focused button was drawn anew: its successor at the same place, else the message.
  refocus(key, place) {
    const row = place && this.box.querySelector(`[data-message="${place}"]`);
    const again = key && this.box.querySelector(`[data-key="${CSS.escape(key)}"]`);
    (again || row?.querySelector(".key") || row || this.box).focus({ preventScroll: true });
  }

  drawFoot(user, chat) {
    this.composer.update(chat.commands);
    const kind = user.deleted ? "deleted" : user.blocked ? "blocked" : !user.started && !chat.messages.length ? "new" : "writes";
    if (kind === this.footKind) return;
    const hadFocus = this.footKind === undefined || this.foot.contains(document.activeElement);
    this.footKind = kind;
    const big = (text, act) => make("button", { type: "button", class: "start", onclick: act }, text);
    const content = {
      deleted: () => make("p", { class: "gone" }, "This account is deleted."),
      blocked: () => big("Restart", () => this.start()),
      new: () => big("Start", () => this.start()),
      writes: () => this.composer.element,
    }[kind]();
    this.foot.replaceChildren(content);
    this.composer.draw();
    if (hadFocus && this.element.classList.contains("active")) this.focus();
  }

  drawAnswers(answers) {
    const first = this.seen === null;
    this.seen ??= new Set();
    for (const answer of answers) {
      this.waiting.delete(answer.query_id);
      if (this.seen.has(answer.query_id)) continue;
      this.seen.add(answer.query_id);
      if (first) continue; // from before this page was opened
      if (answer.text) {
        if (answer.show_alert) alertSheet(live.state.bot.first_name, answer.text);
        else this.toast(answer.text);
      }
      if (answer.url) this.open(answer.url);
    }
    this.spin();
  }
}
