// What pressing a link or a button with one does: a deep link, a share, an invoice, a page of the sandbox, or a new tab.

import { live, post } from "./connection.js";
import { face, fullName, make } from "./elements.js";
import { payLink } from "./payment.js";
import { route } from "./route.js";
import { frameSheet, sheet } from "./sheets.js";

export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return "Copied";
  } catch {
    return "The browser does not let this page copy";
  }
}

// `/start` with this payload, null when the link leads elsewhere than to our bot.
function startPayload(url) {
  const name = url.protocol === "tg:" ? url.searchParams.get("domain") : url.hostname === "t.me" ? url.pathname.slice(1) : "";
  return name && name.toLowerCase() === live.state.bot.username.toLowerCase() ? url.searchParams.get("start") ?? "" : null;
}

function isShare(url) {
  if (url.protocol === "tg:") return url.hostname === "msg_url" || url.pathname.replaceAll("/", "") === "msg_url";
  return url.hostname === "t.me" && (url.pathname === "/share/url" || url.pathname === "/share");
}

function parse(text) {
  try { return new URL(text); } catch { return null; }
}

export function openLink(text, pane) {
  const url = parse(text);
  if (url === null) return pane.toast("Not a link");
  if (isShare(url)) return share(url, pane);
  const payload = startPayload(url);
  if (payload !== null) return pane.start(payload);
  if (url.hostname === "t.me" && /^\/(\$|invoice\/)/.test(url.pathname)) return payLink(pane, text);
  if (live.state.framed.includes(url.origin)) return frameSheet(text, "Crypto Pay");
  // Who is at t.me has nothing to do with the people here, and the name may be a stranger's.
  const elsewhere = url.hostname !== "t.me" && /^https?:$/.test(url.protocol);
  if (elsewhere) return window.open(text, "_blank", "noopener,noreferrer");
  return pane.toast("Telegram would open " + text);
}

function share(url, pane) {
  const shared = url.searchParams.get("url") || "";
  const words = url.searchParams.get("text") || "";
  const whole = [words, shared].filter(Boolean).join("\n");
  const told = make("p", { class: "told", role: "status" });
  const actions = [];
  const button = (text, act, primary) => make("button", { type: "button", class: primary ? "primary" : "", onclick: act }, text);
  if (navigator.share) {
    const send = () => navigator.share({ text: words, url: shared }).catch((error) => {
      if (error.name !== "AbortError") told.textContent = "The browser could not share it; copy it instead.";
    });
    actions.push(button("Share\u2026", send, true));
  }
  actions.push(button("Copy", async () => { told.textContent = await copy(whole); }, !navigator.share));
  const content = [make("blockquote", { class: "shared" }, whole), make("div", { class: "actions" }, ...actions), told];
  const target = parse(shared);
  const payload = target && startPayload(target);
  const others = live.state.users.filter((user) => user.id !== pane.id && !user.deleted);
  if (payload !== null && others.length) {
    const open = (user) => {
      opened.close();
      route.showBeside(user.id);
      post(`users/${user.id}/start`, { payload }).catch((error) => pane.toast(error.message));
    };
    content.push(make("h3", {}, "Or let a user here open the link"), make("div", { class: "choices" }, ...others.map((user) =>
      make("button", { type: "button", onclick: () => open(user) }, face(user), fullName(user)))));
  }
  const opened = sheet("Share", content, { kind: "share" });
}
