"""The pages' HTML. No script and nothing inline; everything that the application or a person wrote is escaped."""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING, Any

from sandbox.cryptopay.faults import MOST_COPIES, MOST_LATE_S, MOST_OFF, MOST_SLOW_S
from sandbox.cryptopay.rates import text_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sandbox.cryptopay.faults import Standing
    from sandbox.cryptopay.invoices import Invoice
    from sandbox.cryptopay.store import Pending
    from sandbox.cryptopay.webhooks import Delivery, Notice

_PAID_BUTTONS = {
    "viewItem": "View item",
    "openChannel": "Open channel",
    "openBot": "Open bot",
    "callback": "Return",
}
WAYS = {
    "twice": "Pay and send the webhook twice",
    "late": "Pay, webhook a minute late",
    "lost": "Pay, first attempt lost",
    "never": "Pay, webhook never comes",
}


def document(title: str, body: str, *, wide: bool = False, refresh: bool = False) -> str:
    """A whole page."""
    again = "<meta http-equiv='refresh' content='2'>" if refresh else ""
    attribute = " class='wide'" if wide else ""
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"{again}<title>{escape(title)}</title><link rel='icon' href='data:,'><link rel='stylesheet' href='/page.css'></head>"
        f"<body><main{attribute}>{body}</main></body></html>\n"
    )


def button(action: str, label: str, *, first: bool = False) -> str:
    """A form of one button."""
    look = " class='first'" if first else ""
    return f"<form method='post' action='{escape(action)}'><button{look}>{escape(label)}</button></form>"


def _box(name: str, label: str) -> str:
    """A ticked box, after the value that stands for it when it is not ticked."""
    return (
        f"<input type='hidden' name='{name}' value='0'><label class='choice'>"
        f"<input type='checkbox' name='{name}' value='1' checked>{escape(label)}</label>"
    )


def currency(fields: dict[str, Any]) -> str:
    """What an invoice asks for."""
    return str(fields.get("fiat") or fields.get("asset"))


# One invoice ----------------------------------------------------------------------------------------------------------


def head(invoice: Invoice) -> str:
    """Number, amount, description."""
    return (
        f"<h1>Invoice {invoice.invoice_id}</h1>"
        f"<p class='amount'>{escape(invoice.fields['amount'])} {escape(currency(invoice.fields))}</p>"
        f"<p>{escape(invoice.fields.get('description', ''))}</p>"
    )


FOOT = "<p class='faint'>Sandbox: no real money moves. <a href='/'>All invoices</a></p>"


def pay_form(invoice: Invoice) -> str:
    """Everything a payer may choose, and the faults of the webhook."""
    address = f"/invoice/{escape(invoice.fields['hash'])}"
    choices = "".join(
        f"<label class='choice'><input type='radio' name='asset' value='{escape(asset)}'{' checked' if first else ''}>"
        f"{escape(asset)}<span>{escape(text_of(invoice.cost(asset)))}</span></label>"
        for first, asset in ((number == 0, asset) for number, asset in enumerate(invoice.assets))
    )
    extras = ""
    if invoice.fields["allow_comments"]:
        extras += "<label class='field'>Comment<input type='text' name='comment' maxlength='1024'></label>"
    if invoice.fields["allow_anonymous"]:
        extras += _box("anonymously", "Anonymously")
    if "swap_to" in invoice.fields:
        extras += _box("swap", f"The swap to {invoice.fields['swap_to']} succeeds")
    until = invoice.fields.get("expiration_date")
    note = f"<p class='faint'>To be paid before {when(until)}.</p>" if until else ""
    ways = "".join(f"<button name='how' value='{how}'>{escape(label)}</button>" for how, label in WAYS.items())
    return (
        f"{note}<form method='post' action='{address}/pay'><fieldset><legend>Pay with</legend>{choices}{extras}"
        "<button class='first' name='how' value='once'>Pay</button></fieldset>"
        f"<fieldset><legend>Try a fault of the webhook</legend><div class='several two'>{ways}</div></fieldset></form>"
        f"<fieldset><legend>Or do not pay</legend>{button(address + '/expire', 'Expire')}</fieldset>"
    )


def expired(invoice: Invoice) -> str:
    """What became of an unpaid invoice."""
    at = when(invoice.fields["expiration_date"])
    return f"<p class='state bad' role='status'><b>Expired</b> at {at}. It can't be paid any more.</p>"


def paid(invoice: Invoice) -> str:
    """What became of an invoice, for the payer: hidden message and button included."""
    fields = invoice.fields
    told = (
        f"<p class='state good' role='status'>✓ <b>Paid</b> with {escape(fields['paid_amount'])}"
        f" {escape(fields['paid_asset'])} (fee {escape(fields['fee_amount'])}) at {when(fields['paid_at'])}.</p>"
    )
    if fields.get("is_swapped"):
        told += f"<p>Swapped to {escape(fields['swapped_output'])} {escape(fields['swapped_to'])}.</p>"
    elif "swap_to" in fields:
        told += f"<p>Not swapped to {escape(fields['swap_to'])}.</p>"
    if "hidden_message" in fields:
        told += f"<h2>Message from the shop</h2><p>{escape(fields['hidden_message'])}</p>"
    if "paid_btn_name" in fields:
        label = _PAID_BUTTONS[fields["paid_btn_name"]]
        url = escape(fields["paid_btn_url"])
        told += f"<p><a href='{url}' target='_blank' rel='noopener noreferrer'>{label}</a></p>"
    return told


def webhooks_sent(sent: Sequence[Delivery], waiting: Sequence[Pending]) -> str:
    """Every attempt of an invoice's webhook and its copies, and what is to come."""
    under_way = {delivery.number for delivery in sent if delivery.duration is None}
    held = sum(pending.held for pending in waiting)
    on_its_way = sum(not pending.held and pending.number not in under_way for pending in waiting)
    numbers = sorted({delivery.number for delivery in sent} | {pending.number for pending in waiting})
    names = {number: f"copy {copy}, " if len(numbers) > 1 else "" for copy, number in enumerate(numbers, 1)}
    told = ""
    if sent:
        lines = "".join(f"<li>{names[delivery.number]}{_attempt(delivery)}</li>" for delivery in sent)
        told += f"<h2>Webhooks sent</h2><ol>{lines}</ol>"
    if on_its_way:
        told += f"<p class='faint'>{on_its_way} more on the way.</p>"
    if held:
        told += f"<p class='faint'>{held} held until you release them (<a href='/'>all invoices</a>).</p>"
    return told


def _attempt(delivery: Delivery) -> str:
    if delivery.duration is None:
        return f"attempt {delivery.attempt}: under way"
    said = f"answered {delivery.status}" if delivery.status is not None else delivery.reason
    return f"attempt {delivery.attempt}: {escape(said)} in {delivery.duration * 1000:.0f} ms"


# All invoices ---------------------------------------------------------------------------------------------------------


def notices(told: Sequence[Notice]) -> str:
    """What the owner was told; the newest first."""
    lines = "".join(
        f"<p class='state bad' role='alert'>{escape(notice.text)} <span class='faint'>{when(notice.at)}</span></p>"
        for notice in reversed(told)
    )
    return lines + button("/notices/clear", "Dismiss") if lines else ""


def webhook_switches(
    url: str | None, disabled_at: datetime | None, *, holding: bool, held: int, on_its_way: int
) -> str:
    """Where webhooks go, and the buttons that stop, hold and release them."""
    if url is None:
        return "<h2>Webhooks</h2><p>No webhook is set for this application.</p>"
    state = f"<p class='faint'>{escape(url)}</p>"
    if disabled_at is not None:
        state += f"<p class='state bad'><b>Webhooks are disabled</b> since {when(disabled_at)}: nothing is sent.</p>"
        return f"<h2>Webhooks</h2>{state}{button('/webhooks/enable', 'Enable webhooks again', first=True)}"
    told = [f"{on_its_way} on the way"] + ([f"{held} held"] if holding or held else [])
    state += f"<p>Enabled: {', '.join(told)}.</p>"
    buttons = button("/webhooks/disable", "Disable webhooks")
    if holding:
        buttons += button("/webhooks/release", "Release, newest first") + button(
            "/webhooks/release-in-order", "Release in order"
        )
    else:
        buttons += button("/webhooks/hold", "Hold new webhooks")
    return f"<h2>Webhooks</h2>{state}<div class='several'>{buttons}</div>"


def faults_form(standing: Standing) -> str:
    """The standing faults, to be read and set."""

    def number(name: str, label: str, value: float, most: int, least: int = 0) -> str:
        return (
            f"<label class='field'>{label}<input type='number' name='{name}' value='{value:g}' min='{least}' max='{most}'"
            " step='any' required></label>"
        )

    fields = (
        number("copies", "Each webhook, times", standing.copies, MOST_COPIES)
        + number("lost", "Attempts lost, %", standing.lost * 100, 100)
        + number("unanswered", "Answers lost, %", standing.unanswered * 100, 100)
        + number("late_s", "Late by up to, s", standing.late_s, MOST_LATE_S)
        + number("refused", "Calls answered 429, %", standing.refused * 100, 100)
        + number("missing", "Rows absent from listings, %", standing.missing * 100, 100)
        + number("short", "Listings cut short, %", standing.short * 100, 100)
        + number("foreign", "Listings with foreign rows, %", standing.foreign * 100, 100)
        + number("slow_s", "Pauses before and inside answers, up to s", standing.slow_s, MOST_SLOW_S)
        + number("balance_off", "Balances too high by, last digits", standing.balance_off, MOST_OFF, -MOST_OFF)
    )
    return (
        "<h2>Standing faults</h2><form method='post' action='/faults'>"
        f"<div class='several'>{fields}<button>Set</button></div></form>"
    )


def account(*, suspended: bool, transfers_enabled: bool) -> str:
    """Switches of the account."""
    state = "<p class='state bad'>The account is suspended: every call is answered 423.</p>" if suspended else ""
    buttons = (
        button("/account/resume", "Resume the account")
        if suspended
        else button("/account/suspend", "Suspend the account")
    )
    buttons += (
        button("/transfers/disable", "Disable transfers")
        if transfers_enabled
        else button("/transfers/enable", "Enable transfers")
    )
    return f"<h2>Account</h2>{state}<div class='several'>{buttons}</div>"


def balances(rows: Sequence[dict[str, str]]) -> str:
    """What is there and what is on hold; assets without either are left out."""
    told = [
        f"{escape(row['available'])} {escape(row['currency_code'])}"
        + (f" (and {escape(row['onhold'])} on hold)" if row["onhold"] != "0" else "")
        for row in rows
        if (row["available"], row["onhold"]) != ("0", "0")
    ]
    return f"<p>Balance: {', '.join(told) or 'nothing yet'}.</p>"


def invoice_table(invoices: dict[int, dict[str, Any]]) -> str:
    """All invoices, newest first."""
    rows = [
        f"<tr><td><a href='/invoice/{escape(str(invoice['hash']))}'>{number}</a></td>"
        f"<td>{escape(str(invoice['amount']))} {escape(currency(invoice))}</td>"
        f"<td>{escape(str(invoice['status']))}</td>"
        f"<td>{escape(str(invoice.get('description', '')))}</td>"
        f"<td class='faint wide-only'>{when(str(invoice['created_at']))}</td></tr>"
        for number, invoice in sorted(invoices.items(), reverse=True)
    ]
    if not rows:
        return "<h2>Invoices</h2><p class='faint'>No invoice yet. Buy something in the chat.</p>"
    titles = "".join(f"<th scope='col'>{title}</th>" for title in ("Invoice", "Amount", "Status", "For"))
    return (
        f"<h2>Invoices</h2><table><thead><tr>{titles}<th scope='col' class='wide-only'>Made</th></tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def when(moment: datetime | str) -> str:
    """A time, or what the API writes for one, to the minute."""
    known = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return f"{known.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
