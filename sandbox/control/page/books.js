// What the database holds: flags, access, money, messages, invariants; and the failpoints.

import { act, asks, post } from "/ask.js";
import { at, element, moment, number, Table, text, when } from "/dom.js";

const title = (host, words) => at(host).append(element("h3", words));
const money = (name, words = name) => ({ title: words, number: true, text: (row) => (row[name] === null ? "" : `${row[name]} ${row.currency}`) });
const bare = (name, words = name) => ({ title: words, number: true, text: (row) => row[name] });

const flags = new Table(at("flags"), {
  label: "Flags",
  none: "none",
  columns: [
    text("id", "flag"),
    { title: "opens", text: (row) => row.what },
    { title: "state", text: (row) => (row.on ? "on" : "off"), mood: (row) => (row.on ? "good" : "bad") },
    moment("since", "since (UTC)"),
    {
      title: "",
      buttons: (row) => [
        {
          text: row.on ? "switch off" : "switch on",
          label: `switch ${row.on ? "off" : "on"} ${row.id}`,
          act: asks("/flag", { name: row.id, on: !row.on }),
        },
      ],
    },
  ],
});

const outbox = new Table(at("work"), {
  label: "Outbox",
  none: "no follow-up work waits",
  columns: [
    number("id"), text("queue"), text("target"), number("attempt", "try"),
    moment("not_before", "not before"), moment("enqueued_at", "in its queue since"),
  ],
});
const updates = new Table(at("work"), {
  label: "Updates",
  none: "no update waits",
  columns: [number("id", "update"), moment("received_at", "since"), number("attempts", "tries"), text("last_error", "last error")],
});

const subscriptions = new Table(at("access"), {
  label: "Subscriptions",
  none: "no access yet",
  columns: [
    number("id"), text("who"), { title: "telegram", number: true, text: (row) => row.telegram_id }, text("tariff"), text("source"),
    { title: "status", text: (row) => row.status, mood: (row) => (row.status === "active" ? "good" : "") },
    {
      title: "activation",
      text: (row) => (row.activation_status === "pending" ? "paid, not applied" : row.activation_status),
      mood: (row) => (row.activation_status === "pending" ? "bad" : ""),
    },
    moment("expires_at", "ends (UTC)"), number("version"),
  ],
});
title("access", "Nodes as Postgres has them");
const nodeStates = new Table(at("access"), {
  label: "Nodes as Postgres has them",
  none: "there is no node",
  columns: [
    text("name", "node"),
    { title: "state", text: (row) => row.state, mood: (row) => (row.state === "active" ? "good" : "") },
    { title: "lost since", text: (row) => (row.lost_since ? when(row.lost_since) : ""), mood: (row) => (row.lost_since ? "bad" : "") },
    {
      title: "breaker",
      text: (row) => (row.is_open ? `open until ${when(row.open_until)}` : row.open_until ? "open, a probe is due" : "closed"),
      mood: (row) => (row.open_until ? "bad" : "good"),
    },
    number("failures"),
    {
      title: "reconcile's breaker",
      text: (row) => (row.reconcile_is_open ? `open until ${when(row.reconcile_open_until)}` : "closed"),
      mood: (row) => (row.reconcile_is_open ? "bad" : "good"),
    },
    { title: "trouble", text: (row) => row.trouble ?? "", mood: (row) => (row.trouble ? "bad" : "") },
    { title: "clock off, ms", number: true, text: (row) => row.clock_off_ms },
    moment("state_lost_at", "lost its memory"), number("wanted", "clients"), number("waiting", "not confirmed"),
  ],
});
title("access", "Node clients");
const clients = new Table(at("access"), {
  label: "Node clients",
  none: "no node holds a client",
  columns: [
    { title: "client", text: (row) => row.id }, text("who"), text("node"),
    { title: "wanted", text: (row) => (row.wanted ? "yes" : "no") },
    {
      title: "on the node",
      text: (row) => (row.settled ? "applied" : row.wanted ? "not yet" : "to be removed"),
      mood: (row) => (row.settled ? "good" : "bad"),
    },
    { title: "version", number: true, text: (row) => `${row.applied_version ?? "-"} of ${row.version}` },
    moment("applied_at", "applied"), number("attempts", "tries"), moment("next_attempt_at", "next try"),
    { title: "last error", kind: "long", text: (row) => row.last_error },
  ],
});

title("ledger", "Every currency sums to zero");
const currencies = new Table(at("ledger"), {
  label: "Trial balance by currency",
  none: "nothing is booked yet",
  columns: [
    text("id", "currency"), bare("debits"), bare("credits"), bare("amount", "difference"),
    {
      title: "",
      text: (row) => (Number(row.amount) === 0 ? "balanced" : "NOT BALANCED"),
      mood: (row) => (Number(row.amount) === 0 ? "good" : "bad"),
    },
  ],
});
title("ledger", "Trial balance");
const accounts = new Table(at("ledger"), {
  label: "Accounts of the ledger",
  none: "no accounts yet",
  columns: [
    { title: "account", kind: "code", text: (row) => row.code }, bare("debits"), bare("credits"), money("amount", "debit balance"), number("entries"),
  ],
});
title("ledger", "Last entries");
const entries = new Table(at("ledger"), {
  label: "Last entries of the ledger",
  none: "no entries yet",
  columns: [
    number("id"), moment("created_at", "at"), { title: "transfer", kind: "code", text: (row) => row.key }, text("kind"),
    { title: "debit", kind: "code", text: (row) => row.debit }, { title: "credit", kind: "code", text: (row) => row.credit }, money("amount"),
  ],
});

const orders = new Table(at("payments"), {
  label: "Orders",
  none: "no orders yet",
  columns: [
    number("id", "order"), text("who"), text("tariff"), number("period_days", "days"), money("amount", "price"), text("provider"),
    { title: "status", text: (row) => row.status, mood: (row) => (row.status === "paid" ? "good" : "") }, moment("created_at", "made (UTC)"),
  ],
});
title("payments", "Payments");
const payments = new Table(at("payments"), {
  label: "Payments",
  none: "no payments yet",
  columns: [
    number("id"), text("who"), { title: "kind", text: (row) => row.kind, mood: (row) => (row.kind === "settling" ? "" : "bad") },
    money("amount"), text("provider"), { title: "charge", kind: "code", text: (row) => row.charge_id }, number("order_id", "order"),
    { title: "paid in", text: (row) => (row.paid_asset ? `${row.paid_amount} ${row.paid_asset}` : "") }, moment("created_at", "at"),
  ],
});
title("payments", "What providers said");
const events = new Table(at("payments"), {
  label: "Payment events",
  none: "nothing yet",
  columns: [
    number("id"), text("provider"), { title: "key", kind: "code", text: (row) => row.external_id }, text("via"),
    { title: "status", text: (row) => row.status, mood: (row) => (row.status === "unmatched" ? "bad" : row.status === "new" ? "busy" : "") },
    text("reason"), number("attempts", "tries"), moment("received_at", "received"),
  ],
});

title("waiting", "In suspense");
const suspense = new Table(at("waiting"), {
  label: "In suspense",
  none: "no money waits",
  columns: [
    number("id", "event"), money("amount", "lies there"), { title: "why", kind: "long", text: (row) => row.reason ?? row.status },
    moment("received_at", "since (UTC)"), text("provider"), { title: "key", kind: "code", text: (row) => row.external_id },
    number("order_id", "order"), text("who"),
  ],
});
title("waiting", "Refunds and chargebacks");
const refunds = new Table(at("waiting"), {
  label: "Refunds and chargebacks",
  none: "nothing went back",
  columns: [
    number("id"), text("who"), { title: "kind", text: (row) => row.kind, mood: (row) => (row.kind === "chargeback" ? "bad" : "") },
    money("amount"), text("route", "went to"), text("provider"), { title: "under", kind: "code", text: (row) => row.external_id.slice(0, 24) },
    number("order_id", "order"), number("payment_id", "payment"),
    { title: "access", text: (row) => (row.reverses_access ? "taken back" : "kept") },
    { title: "reason", kind: "long", text: (row) => row.reason }, moment("created_at", "at"),
  ],
});
title("waiting", "Refunds that providers are asked for");
const requests = new Table(at("waiting"), {
  label: "Refunds that providers are asked for",
  none: "none was asked for",
  columns: [
    number("id"), text("who"), money("amount"), text("provider"),
    { title: "charge", kind: "code", text: (row) => row.external_id.slice(0, 12) },
    { title: "status", text: (row) => row.status, mood: (row) => ({ done: "good", refused: "bad" })[row.status] ?? "busy" },
    number("attempts", "tries"), { title: "last answer", kind: "long", text: (row) => row.last_answer },
    moment("requested_at", "asked"), moment("next_attempt_at", "next try"),
  ],
});
title("waiting", "Receipts");
const receipts = new Table(at("waiting"), {
  label: "Receipts",
  none: "no receipts yet",
  columns: [
    number("id", "payment"), text("who"), money("amount"),
    { title: "status", text: (row) => row.status, mood: (row) => (row.status === "due" || row.status === "annulling" ? "busy" : "good") },
    text("number"), number("refund_id", "annulled by"), number("attempts", "tries"), moment("created_at", "made"),
  ],
});
title("waiting", "Balances of customers");
const wallets = new Table(at("waiting"), {
  label: "Balances of customers",
  none: "no balances yet",
  columns: [number("id", "account"), text("who"), money("topped_up", "topped up"), money("earned")],
});

const messages = new Table(at("messages"), {
  label: "Messages",
  none: "no messages yet",
  columns: [
    number("id"), text("who", "to"), text("kind"), text("delivery"),
    { title: "status", text: (row) => row.status, mood: (row) => (row.status === "failed" || row.status === "unclear" ? "bad" : row.status === "queued" ? "busy" : "") },
    number("attempts", "tries"), moment("created_at", "made"), { title: "last error", kind: "long", text: (row) => row.last_error },
  ],
});

const invariants = new Table(at("invariants"), {
  label: "Invariants",
  none: "not looked at yet",
  columns: [
    { title: "invariant", kind: "code", text: (row) => row.id },
    { title: "state", text: (row) => (row.holds ? "holds" : "VIOLATED"), mood: (row) => (row.holds ? "good" : "bad") },
    { title: "by", text: (row) => (row.holds ? "" : `${row.of} ${row.keys.join(", ")}`), mood: () => "bad" },
    { title: "says", kind: "long", text: (row) => row.says },
  ],
});

at("failpoints").append(element("p", "The first process at an armed place acts, once: dies by SIGKILL, raises, or sleeps.", "hint"));
const form = element("form", null, "line");
form.append(label("find", "search", ""), label("does", "text", "kill"));
const [find, does] = form.querySelectorAll("input");
does.setAttribute("list", "actions");
find.placeholder = "settle";
const suggestions = element("datalist");
suggestions.id = "actions";
for (const action of ["kill", "raise", "sleep 5", "sleep 30"]) suggestions.append(new Option(action));
const none = element("button", "disarm all");
none.type = "button";
none.addEventListener("click", () => asks("/failpoint/disarm")(none));
form.append(suggestions, none);
form.addEventListener("submit", (event) => event.preventDefault());
at("failpoints").append(form);

function label(words, type, value) {
  const made = element("label", `${words} `);
  const input = element("input");
  input.type = type;
  input.value = value;
  made.append(input);
  return made;
}

const failpoints = new Table(at("failpoints"), {
  label: "Failpoints",
  none: "no such place",
  columns: [
    { title: "place", kind: "code", text: (row) => row.id },
    {
      title: "",
      buttons: (row) => [
        {
          text: row.armed ? "disarm" : "arm",
          label: `${row.armed ? "disarm" : "arm"} ${row.id}`,
          act: (pressed) => act(pressed, () => (row.armed
            ? post("/failpoint/disarm", { place: row.id })
            : post("/failpoint/arm", { place: row.id, action: does.value }))),
        },
      ],
    },
    { title: "armed", text: (row) => row.armed, mood: () => "bad" },
    { title: "fired", number: true, text: (row) => row.fired || "", mood: (row) => (row.fired ? "busy" : "") },
    { title: "in", kind: "code", text: (row) => row.where },
  ],
});
let places = [];
const showPlaces = () => {
  const wanted = places.filter((row) => row.id.includes(find.value.trim()));
  // What is armed or has fired comes first; of the rest a search finds more.
  const rank = (row) => (row.armed ? 0 : row.fired ? 1 : row.id.includes("commit") ? 3 : 2);
  failpoints.show([...wanted].sort((one, other) => rank(one) - rank(other)));
};
find.addEventListener("input", showPlaces);

export function showBooks(state) {
  places = state.failpoints;
  showPlaces();
  if (state.database !== "up") return; // the last that was seen stays; the header says that it is old
  flags.show(state.flags);
  outbox.show(state.outbox);
  updates.show(state.updates);
  subscriptions.show(state.subscriptions);
  nodeStates.show(state.node_states);
  clients.show(state.node_clients);
  currencies.show(state.currencies);
  accounts.show(state.accounts);
  entries.show(state.entries);
  orders.show(state.orders);
  payments.show(state.payments);
  events.show(state.payment_events);
  suspense.show(state.suspense);
  refunds.show(state.refunds);
  requests.show(state.refund_requests);
  receipts.show(state.receipts);
  wallets.show(state.wallets);
  messages.show(state.messages);
  invariants.show([...state.invariants].sort((one, other) => Number(one.holds) - Number(other.holds)));
}

