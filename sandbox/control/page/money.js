// What providers hold: invoices, charges, balances; and what people, banks and providers do with them.

import { asks, asksFirst } from "/ask.js";
import { at, element, moment, Table, text } from "/dom.js";

const title = (words) => at("providers").append(element("h3", words));
const right = (name, words = name) => ({ title: words, number: true, text: (row) => row[name] });

title("What each says that it holds");
const balances = new Table(at("providers"), {
  label: "Balances of providers",
  none: "they hold nothing",
  columns: [
    text("provider"), right("says"),
    { title: "off by, smallest units", number: true, text: (row) => row.off || "", mood: (row) => (row.off ? "bad" : "") },
    {
      title: "",
      buttons: (row) => [
        { text: "one more", label: `one more: ${row.id}`, act: asks(`/balance/${row.provider}`, { off: 1 }), off: row.off === 1 },
        { text: "one less", label: `one less: ${row.id}`, act: asks(`/balance/${row.provider}`, { off: -1 }), off: row.off === -1 },
        { text: "as it is", label: `as it is: ${row.id}`, act: asks(`/balance/${row.provider}`, { off: 0 }), off: row.off === 0 },
      ],
    },
  ],
});

title("Compared with the books");
const comparisons = new Table(at("providers"), {
  label: "Providers compared with the books",
  none: "not compared yet: a day of the books has to be over for three hours",
  columns: [
    text("id", "provider"), text("day", "up to"), moment("compared_at", "compared (UTC)"), right("lines"), right("matched"),
    right("under_way", "under way"),
    { title: "differences", number: true, text: (row) => row.differences, mood: (row) => (row.differences ? "bad" : "good") },
    { title: "", text: (row) => (row.complete ? "" : "not all of it was seen"), mood: () => "busy" },
  ],
});
const differences = new Table(at("providers"), {
  label: "Differences from the books",
  none: "no difference",
  columns: [
    text("provider"), { title: "what", text: (row) => row.state.replaceAll("_", " "), mood: () => "bad" },
    { title: "line", kind: "code", text: (row) => row.line }, text("asset"), right("said", "the provider says"), right("booked", "the books say"),
    right("off_by", "off by"), right("order_id", "order"), moment("first_seen_at", "first seen"), moment("last_seen_at", "last seen"),
  ],
});

title("Charges at Telegram");
const charges = new Table(at("providers"), {
  label: "Charges at Telegram",
  none: "no charges yet",
  columns: [
    { title: "charge", kind: "code", text: (row) => row.short }, text("who"), text("method"), right("amount"),
    { title: "purchase", kind: "code", text: (row) => row.purchase }, moment("at", "at (UTC)"),
    { title: "went back", text: (row) => row.returned.replace("T", " ").slice(0, 19), mood: () => "bad" },
    {
      title: "",
      buttons: (row) => [
        {
          text: "refund from outside",
          label: `refund from outside: ${row.short}`,
          act: asks("/charge/refund", { id: row.id }),
          off: Boolean(row.returned),
          gone: row.method !== "stars",
        },
        {
          text: "chargeback",
          label: `chargeback: ${row.short}`,
          danger: true,
          act: asksFirst(`Take ${row.amount} of ${row.who} back by force?`, "/charge/chargeback", { id: row.id }),
          off: Boolean(row.returned),
        },
        {
          text: "second debit",
          label: `second debit: ${row.short}`,
          danger: true,
          act: asksFirst(`Take ${row.amount}, which went back, a second time?`, "/charge/second-debit", { id: row.id }),
          gone: row.method !== "stars" || !row.returned,
        },
      ],
    },
  ],
});

const download = element("a", "the card provider's statement (CSV)");
download.href = "/card-statement.csv";
download.download = "card-statement.csv";
at("providers").append(download);

title("Invoices of Crypto Pay");
const invoices = new Table(at("providers"), {
  label: "Invoices of Crypto Pay",
  none: "no invoices yet",
  columns: [
    text("id", "invoice"), right("amount"),
    { title: "status", text: (row) => row.status, mood: (row) => (row.status === "paid" ? "good" : "") },
    {
      title: "",
      buttons: (row) => {
        const pay = (what, words, gone) => ({
          text: words, label: `${words}: invoice ${row.id}`, act: asks(`/invoice/${what}`, { id: row.id }), gone,
        });
        const closed = row.status !== "active";
        return [
          pay("pay", "pay", closed), pay("more", "pay more", closed || !row.fiat), pay("less", "pay less", closed || !row.fiat),
          pay("foreign", "pay in another currency", closed || !row.fiat), pay("again", "pay again", row.status !== "paid"),
        ];
      },
    },
    right("paid_with", "came"), right("fee"), { title: "purchase", kind: "code", text: (row) => row.purchase }, moment("made", "made (UTC)"),
  ],
});

export function showMoney(state) {
  balances.show(state.provider_balances);
  if (state.database === "up") {
    comparisons.show(state.comparisons);
    differences.show(state.differences);
  }
  charges.show(state.charges);
  invoices.show(state.invoices);
}
