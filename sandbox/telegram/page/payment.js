// The pay sheet of an invoice, and the receipt.

import { live, post, userOf } from "./connection.js";
import { fullName, icon, make } from "./elements.js";
import { moment } from "./moments.js";
import { price, stars } from "./money.js";
import { sheet } from "./sheets.js";

const WORDS = {
  timeout: "The bot did not answer in time. No money was taken.",
  too_poor: "Not enough Stars.",
  refused: "The bot refused the payment.",
};

function facts(pairs) {
  return make("dl", { class: "facts" }, ...pairs.filter(([, value]) => value).flatMap(([name, value]) => {
    const wide = value instanceof Node ? "wide" : "";
    return [make("dt", { class: wide }, name), make("dd", { class: wide }, value)];
  }));
}

// Stars pay Stars; anything else is paid by a card of the test provider, which may turn it down.
function methods(user, currency) {
  if (currency === "XTR") return { picked: () => "card", shown: facts([["Pay with", `Stars, balance ${stars(user.stars)}`]]) };
  const choices = [["card", "Test card", "4242 4242 4242 4242"], ["declined", "Declined card", "4000 0000 0000 0002"]];
  const shown = make("fieldset", { class: "methods" }, make("legend", {}, "Pay with"), ...choices.map(([value, name, digits], at) =>
    make("label", { class: "check" }, make("input", { type: "radio", name: "method", value, checked: at === 0 }), make("span", {}, name), make("small", {}, digits))));
  return { picked: () => shown.querySelector(":checked").value, shown };
}

const ASKED = {
  name: ["Name", { type: "text", readonly: true }],
  email: ["Email for the receipt", { type: "email", pattern: "[^@]+@[^@.]+([.][^@.]+)+", maxlength: 64, autocomplete: "off" }],
  phone_number: ["Phone number", { type: "tel", pattern: "[0-9]{5,15}", maxlength: 15, autocomplete: "off" }],
};

// What the invoice asks its payer for, as the app has it from the last time. The name is the account's.
function questions(user, asks) {
  const fields = asks.map((name) => {
    const [words, kind] = ASKED[name];
    const field = make("input", { ...kind, name, required: true, value: user.filled_in[name] });
    return { name, field, line: make("label", { class: "asked" }, make("span", {}, words), field) };
  });
  const said = () => Object.fromEntries(fields.filter(({ name }) => name !== "name").map(({ name, field }) => [name, field.value.trim()]));
  const wrong = () => fields.find(({ field }) => !field.validity.valid);
  return { said, wrong, shown: fields.map(({ line }) => line) };
}

function outcome(kind, title, text) {
  return make("div", { class: `outcome ${kind}` }, icon(kind === "paid" ? "check" : "warning"), make("div", {}, make("strong", {}, title), make("p", {}, text)));
}

function open(pane, { title, description, currency, total_amount, subscription_period, asks }, target) {
  const user = userOf(pane.id);
  const told = make("div", { role: "status", class: "told" });
  const twice = make("input", { type: "checkbox" });
  const pay = make("button", { type: "button", class: "primary big" }, `Pay ${price(total_amount, currency)}`);
  const method = methods(user, currency);
  const asked = questions(user, asks);
  const opened = sheet("Payment", [
    make("div", { class: "invoice whole" }, make("strong", {}, title), make("p", {}, description), make("span", { class: "price" }, price(total_amount, currency))),
    facts([["Payer", fullName(user)], ["Renews", subscription_period ? `every ${subscription_period / 86400} days` : ""]]),
    method.shown,
    ...asked.shown,
    make("label", { class: "check" }, twice, make("span", {}, "Take the money twice", make("small", {}, "As real life does when an answer is lost: two payments, two charge ids."))),
    told,
    make("div", { class: "actions" }, pay),
  ], { kind: "pay" });
  pay.focus();
  pay.addEventListener("click", async () => {
    if (pay.getAttribute("aria-disabled") === "true") return;
    const wrong = asked.wrong();
    if (wrong) {
      told.replaceChildren(outcome("refused", "Not paid.", `${ASKED[wrong.name][0]}: not one that the app takes.`));
      wrong.field.focus();
      return;
    }
    pay.setAttribute("aria-disabled", "true");
    pay.setAttribute("aria-busy", "true");
    told.replaceChildren("Asking the bot\u2026");
    try {
      const answer = await post(`users/${pane.id}/pay`, { ...target, method: method.picked(), order_info: asked.said(), charges: twice.checked ? 2 : 1 });
      if (answer.status === "paid") done(opened, answer, currency, total_amount);
      else told.replaceChildren(outcome("refused", WORDS[answer.status] || answer.status, answer.reason));
    } catch (error) {
      told.replaceChildren(outcome("refused", "Not paid.", error.message));
    }
    pay.removeAttribute("aria-disabled");
    pay.removeAttribute("aria-busy");
  });
}

function chargeIds(ids) {
  return make("div", {}, ...ids.map((id) => make("code", {}, id)));
}

function done(opened, answer, currency, total) {
  const count = answer.charge_ids.length;
  const close = make("button", { type: "button", class: "primary big", onclick: () => opened.close() }, "Done");
  opened.querySelector(".content").replaceChildren(
    make("div", { role: "status" }, outcome("paid", count > 1 ? `Paid ${count} times` : "Paid", price(total * count, currency))),
    facts([[count > 1 ? "Charge ids" : "Charge id", chargeIds(answer.charge_ids)]]),
    make("div", { class: "actions" }, close));
  close.focus();
}

async function pay(pane, name, value, target) {
  const response = await fetch(`api/invoice?${name}=${encodeURIComponent(value)}`);
  const offer = await response.json();
  if (document.querySelector("dialog.pay[open]")) return; // pressed twice
  if (response.ok) open(pane, offer, target);
  else pane.toast(offer.error);
}

export const payInvoice = (pane, message) => pay(pane, "message", message.message_id, { message_id: message.message_id });

export const payLink = (pane, link) => pay(pane, "link", link, { link });

function stateOf(one) {
  const until = `until ${moment(one.paid_until)}`;
  if (one.failed || one.paid_until <= live.state.now) return "over";
  return one.renews ? `paid ${until}, then renewed` : `canceled, runs ${until}`;
}

// A person's Star subscriptions, each with the switch that the app has.
export function subscriptions(pane) {
  const list = make("ul", { class: "subscriptions" });
  const told = make("p", { class: "told", role: "status" });
  const act = async (what, one) => {
    told.textContent = "";
    try { await post(`users/${pane.id}/${what}`, { charge_id: one.charge_id }); } catch (error) { told.textContent = error.message; }
  };
  const draw = () => list.replaceChildren(...live.state.chats[pane.id].subscriptions.map((one) => make("li", {},
    make("div", {}, make("strong", {}, one.invoice.title), make("small", {}, `${price(one.invoice.total, one.invoice.currency)} \u00B7 ${stateOf(one)}`)),
    stateOf(one) === "over" || one.canceled_by_bot ? null
      : make("button", { type: "button", onclick: () => act(one.canceled ? "resume" : "cancel", one) }, one.canceled ? "Resume" : "Cancel"))));
  draw();
  pane.onstate = () => { // drawn anew with what came of it, the focus stays on its switch
    const at = [...list.querySelectorAll("button")].indexOf(document.activeElement);
    draw();
    if (at >= 0) list.querySelectorAll("button")[at]?.focus();
  };
  sheet("Star subscriptions", [list, told], { onclose: () => { pane.onstate = null; } });
}

// Everything that was paid in these service messages.
export function receipt(pane, messages) {
  const paid = messages.map((message) => message.successful_payment);
  if (!paid.length) return pane.toast("The payment is not in this chat");
  const user = userOf(pane.id);
  const { currency, total_amount, invoice_payload } = paid[0];
  return sheet("Receipt", [
    make("div", { class: "invoice whole" }, make("span", { class: "price" }, paid.length > 1 ? `${paid.length} \u00D7 ${price(total_amount, currency)}` : price(total_amount, currency))),
    facts([
      ["Payer", fullName(user)],
      ["To", live.state.bot.first_name],
      ["When", moment(messages[0].date)],
      ["Payload", invoice_payload],
      [paid.length > 1 ? "Charge ids" : "Charge id", chargeIds(paid.map((one) => one.telegram_payment_charge_id))],
    ]),
  ], { kind: "pay" });
}
