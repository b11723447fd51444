"""The pages that a person sees: an invoice to pay, and the list of all of them. Plain HTML, no script."""

from __future__ import annotations

from html import escape
from string import Template
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from starlette.responses import HTMLResponse, RedirectResponse
from starlette.routing import Route

from sandbox.cryptopay.invoices import InvoiceError
from sandbox.cryptopay.rates import text_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from sandbox.cryptopay.invoices import Invoice
    from sandbox.cryptopay.service import CryptoPay
    from sandbox.cryptopay.webhooks import Delivery

_FORM_LIMIT = 10_000
_PAGE = Template("""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
$refresh<title>$title</title>
<style>
:root { color-scheme: light dark; --ground: light-dark(#f3f5f8, #14171c); --card: light-dark(#fff, #1e232b);
  --text: light-dark(#17202b, #e6ebf2); --faint: light-dark(#5d6b7c, #94a3b5); --line: light-dark(#dde3ea, #313946);
  --accent: light-dark(#1667d9, #5aa2ff); --on-accent: light-dark(#fff, #0c1320); }
* { box-sizing: border-box; }
body { margin: 0; padding: 2rem 1rem; background: var(--ground); color: var(--text);
  font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 30rem; margin: auto; background: var(--card); border: 1px solid var(--line);
  border-radius: 16px; padding: 1.5rem; }
main.wide { max-width: 56rem; }
h1 { font-size: 1rem; font-weight: 600; color: var(--faint); margin: 0; }
.amount { font-size: 2.2rem; font-weight: 700; margin: .2rem 0; }
p { margin: .5rem 0; overflow-wrap: anywhere; }
.faint { color: var(--faint); font-size: .9rem; }
fieldset { border: 0; padding: 0; margin: 1rem 0; display: grid; gap: .4rem; }
legend { padding: 0; margin-bottom: .4rem; font-weight: 600; }
label { display: flex; gap: .6rem; align-items: center; border: 1px solid var(--line); border-radius: 10px;
  padding: .5rem .8rem; cursor: pointer; }
label:has(:checked) { border-color: var(--accent); }
label span { margin-left: auto; color: var(--faint); }
button { width: 100%; margin-top: .5rem; padding: .7rem; border-radius: 10px; border: 1px solid var(--line);
  background: transparent; color: inherit; font: inherit; cursor: pointer; }
button.first { background: var(--accent); border-color: var(--accent); color: var(--on-accent); font-weight: 600; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
table { width: 100%; border-collapse: collapse; } td, th { text-align: left; padding: .4rem; border-top: 1px solid var(--line); }
a { color: var(--accent); }
</style></head><body><main$wide>$body</main></body></html>
""")


def page_routes(service: CryptoPay) -> list[Route]:
    """The pages' routes."""
    pages = _Pages(service)
    return [
        Route("/", pages.index, methods=["GET"]),
        Route("/invoice/{hash}", pages.show, methods=["GET"]),
        Route("/invoice/{hash}/pay", pages.pay, methods=["POST"]),
        Route("/invoice/{hash}/expire", pages.expire, methods=["POST"]),
    ]


class _Pages:
    def __init__(self, service: CryptoPay) -> None:
        self._service = service
        self._silent: set[int] = set()  # paid with "webhook never comes"

    async def index(self, _request: Request) -> Response:
        """All invoices, newest first."""
        rows = [
            f"<tr><td><a href='/invoice/{escape(str(invoice['hash']))}'>{number}</a></td>"
            f"<td>{escape(str(invoice['amount']))} {escape(_currency(invoice))}</td>"
            f"<td>{escape(str(invoice['status']))}</td>"
            f"<td>{escape(str(invoice.get('description', '')))}</td>"
            f"<td class='faint'>{escape(str(invoice['created_at']))}</td></tr>"
            for number, invoice in sorted(self._service.invoices.items(), reverse=True)
        ]
        table = (
            "<table><thead><tr><th>Invoice<th>Amount<th>Status<th>For<th>Made</thead><tbody>"
            + "".join(rows)
            + "</tbody></table>"
            if rows
            else "<p class='faint'>No invoice yet. Buy something in the chat.</p>"
        )
        return _page("Invoices", f"<h1>Crypto Pay (sandbox)</h1>{table}", wide=True)

    async def show(self, request: Request) -> Response:
        """One invoice: to pay, or what became of it."""
        invoice = self._service.by_hash(request.path_params["hash"])
        if invoice is None:
            return self._gone()
        head = (
            f"<h1>Invoice {invoice.invoice_id}</h1>"
            f"<p class='amount'>{escape(invoice.fields['amount'])} {escape(_currency(invoice.fields))}</p>"
            f"<p>{escape(invoice.fields.get('description', ''))}</p>"
        )
        foot = "<p class='faint'>Sandbox: no real money moves. <a href='/'>All invoices</a></p>"
        if invoice.status == "active":
            return _page(f"Invoice {invoice.invoice_id}", head + _pay_form(invoice) + foot)
        waiting = self._service.webhooks.waiting_for(invoice.invoice_id)
        told = head + self._outcome(invoice, on_its_way=len(waiting)) + foot
        return _page(f"Invoice {invoice.invoice_id}: {invoice.status}", told, refresh=bool(waiting))

    async def pay(self, request: Request) -> Response:
        """Pay, in the way the pressed button says."""
        return await self._act(request, self._pay)

    async def expire(self, request: Request) -> Response:
        """Let it expire."""
        return await self._act(request, lambda invoice, _form: self._service.expire(invoice.invoice_id))

    async def _pay(self, invoice: Invoice, form: dict[str, str]) -> object:
        how = form.get("how", "once")
        if how not in {"once", "twice", "never"}:
            raise InvoiceError("there is no such way to pay")
        if how == "never":
            self._silent.add(invoice.invoice_id)
        copies = 2 if how == "twice" else 1
        return await self._service.pay(
            invoice.invoice_id, form.get("asset", ""), webhook=how != "never", times_webhook=copies
        )

    async def _act(self, request: Request, action: Callable[[Invoice, dict[str, str]], Awaitable[object]]) -> Response:
        raw = b""
        async for chunk in request.stream():
            raw += chunk
            if len(raw) > _FORM_LIMIT:
                return _page("Too large", "<p>Too large.</p>", status=413)
        invoice = self._service.by_hash(request.path_params["hash"])
        if invoice is None:
            return self._gone()
        try:
            await action(invoice, dict(parse_qsl(raw.decode(errors="replace"))))
        except InvoiceError as error:
            back = f"<p><a href='/invoice/{escape(invoice.fields['hash'])}'>Back</a></p>"
            return _page("Not possible", f"<p>Not possible: {escape(str(error))}.</p>{back}", status=409)
        return RedirectResponse(f"/invoice/{invoice.fields['hash']}", 303)

    def _gone(self) -> Response:
        return _page(
            "No such invoice", "<p>There is no such invoice; it may have been deleted or replaced.</p>", status=404
        )

    def _outcome(self, invoice: Invoice, *, on_its_way: int) -> str:
        fields = invoice.fields
        if invoice.status == "expired":
            return f"<p><b>Expired</b> at {escape(fields['expiration_date'])}. It can't be paid any more.</p>"
        paid = (
            f"<p><b>Paid</b> with {escape(fields['paid_amount'])} {escape(fields['paid_asset'])}"
            f" (fee {escape(fields['fee_amount'])}) at {escape(fields['paid_at'])}.</p>"
        )
        sent = [delivery for delivery in self._service.deliveries if delivery.invoice_id == invoice.invoice_id]
        lines = "".join(f"<li>{_told(delivery)}</li>" for delivery in sent)
        if sent:
            paid += f"<p>Webhooks sent:</p><ol>{lines}</ol>"
        elif invoice.invoice_id in self._silent:
            paid += "<p>The webhook never comes: the application has to find out by asking.</p>"
        elif self._service.webhook_url is None:
            paid += "<p>No webhook is set for this application.</p>"
        if on_its_way:
            paid += f"<p class='faint'>{on_its_way} more on the way.</p>"
        if self._service.webhooks.disabled_at is not None:
            paid += "<p><b>Webhooks are disabled</b>: all attempts over three days failed.</p>"
        return paid


def _told(delivery: Delivery) -> str:
    answer = "under way" if delivery.duration is None else str(delivery.status or delivery.reason)
    took = "" if delivery.duration is None else f" in {delivery.duration * 1000:.0f} ms"
    return f"attempt {delivery.attempt}: answered {escape(answer)}{took}"


def _currency(fields: dict[str, object]) -> str:
    return str(fields.get("fiat") or fields.get("asset"))


def _pay_form(invoice: Invoice) -> str:
    address = f"/invoice/{escape(invoice.fields['hash'])}"
    choices = "".join(
        f"<label><input type='radio' name='asset' value='{escape(asset)}'{' checked' if first else ''}>{escape(asset)}"
        f"<span>{escape(text_of(invoice.cost(asset)))}</span></label>"
        for first, asset in ((number == 0, asset) for number, asset in enumerate(invoice.assets))
    )
    until = invoice.fields.get("expiration_date")
    note = f"<p class='faint'>To be paid before {escape(until)}.</p>" if until else ""
    return (
        f"{note}<form method='post' action='{address}/pay'><fieldset><legend>Pay with</legend>{choices}</fieldset>"
        "<button class='first' name='how' value='once'>Pay</button>"
        "<button name='how' value='twice'>Pay and send the webhook twice</button>"
        "<button name='how' value='never'>Pay, webhook never comes</button></form>"
        f"<form method='post' action='{address}/expire'><button>Expire</button></form>"
    )


def _page(title: str, body: str, *, status: int = 200, wide: bool = False, refresh: bool = False) -> HTMLResponse:
    html = _PAGE.substitute(
        title=escape(title),
        body=body,
        wide=" class='wide'" if wide else "",
        refresh="<meta http-equiv='refresh' content='2'>" if refresh else "",
    )
    policy = (
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    )
    return HTMLResponse(html, status, headers={"Content-Security-Policy": policy, "Referrer-Policy": "same-origin"})
