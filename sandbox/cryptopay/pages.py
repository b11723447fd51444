"""The pages that a person sees: an invoice to pay, a check to open, and the list of all invoices with its switches."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from starlette.responses import FileResponse, HTMLResponse, RedirectResponse
from starlette.routing import Route

from sandbox.cryptopay import markup
from sandbox.cryptopay.faults import SHARES, Standing
from sandbox.cryptopay.invoices import InvoiceError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from sandbox.cryptopay.invoices import Invoice
    from sandbox.cryptopay.service import CryptoPayService

_FORM_LIMIT = 20_000
_LATE_S = 60.0
_PERCENT = 100
_STYLE = Path(__file__).parent / "page.css"


class _TooLargeError(Exception):
    """A form beyond any that these pages have."""


def page_routes(service: CryptoPayService) -> list[Route]:
    """The pages' routes."""
    pages = _Pages(service)
    posts: list[tuple[str, Callable[[Request], Awaitable[Response]]]] = [
        ("/invoice/{hash}/pay", pages.pay),
        ("/invoice/{hash}/expire", pages.expire),
        ("/invoice/{hash}/webhook", pages.send_again),
        ("/check/{hash}/activate", pages.activate),
        ("/faults", pages.set_faults),
        ("/{what:str}/{do:str}", pages.switch),
    ]
    return [
        Route("/", pages.index, methods=["GET"]),
        Route("/page.css", pages.style, methods=["GET"]),
        Route("/invoice/{hash}", pages.show, methods=["GET"]),
        Route("/check/{hash}", pages.show_check, methods=["GET"]),
        *(Route(path, answer, methods=["POST"]) for path, answer in posts),
    ]


class _Pages:
    def __init__(self, service: CryptoPayService) -> None:
        self._service = service
        hooks, methods = service.webhooks, service.methods
        self._switches: dict[tuple[str, str], Callable[[], None]] = {
            ("webhooks", "enable"): hooks.enable,
            ("webhooks", "disable"): hooks.disable,
            ("webhooks", "hold"): hooks.hold,
            ("webhooks", "release"): hooks.release,
            ("webhooks", "release-in-order"): lambda: hooks.release(newest_first=False),
            ("notices", "clear"): hooks.clear_notices,
            ("account", "suspend"): lambda: setattr(service, "suspended", True),
            ("account", "resume"): lambda: setattr(service, "suspended", False),
            ("transfers", "enable"): lambda: setattr(methods, "transfers_enabled", True),
            ("transfers", "disable"): lambda: setattr(methods, "transfers_enabled", False),
        }

    # -- to look at ----------------------------------------------------------------------------------------------------

    async def style(self, _request: Request) -> Response:
        """The pages' style sheet."""
        return FileResponse(_STYLE, headers={"X-Content-Type-Options": "nosniff"})

    async def index(self, _request: Request) -> Response:
        """All invoices, newest first, and what can be switched."""
        service, hooks = self._service, self._service.webhooks
        waiting = hooks.waiting
        held = sum(pending.held for pending in waiting)
        body = (
            "<h1>Crypto Pay (sandbox)</h1>"
            + markup.notices(hooks.notices)
            + markup.balances(service.methods.balance())
            + markup.invoice_table(service.invoices)
            + markup.webhook_switches(
                hooks.url, hooks.disabled_at, holding=hooks.holding, held=held, on_its_way=len(waiting) - held
            )
            + markup.faults_form(service.faults.standing)
            + markup.account(suspended=service.suspended, transfers_enabled=service.methods.transfers_enabled)
        )
        return self._page("Invoices", body, wide=True)

    async def show(self, request: Request) -> Response:
        """One invoice: to pay, or what became of it."""
        invoice = self._service.by_hash(request.path_params["hash"])
        if invoice is None:
            return self._gone()
        title, head = f"Invoice {invoice.invoice_id}", markup.head(invoice)
        if invoice.status == "active":
            return self._page(title, head + markup.pay_form(invoice) + markup.FOOT)
        if invoice.status == "expired":
            return self._page(f"{title}: expired", head + markup.expired(invoice) + markup.FOOT)
        waiting = self._service.webhooks.waiting_for(invoice.invoice_id)
        told = head + markup.paid(invoice) + self._webhooks_of(invoice) + markup.FOOT
        moving = any(not pending.held for pending in waiting)
        return self._page(f"{title}: paid", told, refresh=moving)

    def _webhooks_of(self, invoice: Invoice) -> str:
        service = self._service
        sent = [delivery for delivery in service.deliveries if delivery.invoice_id == invoice.invoice_id]
        waiting = service.webhooks.waiting_for(invoice.invoice_id)
        told = markup.webhooks_sent(sent, waiting)
        if service.webhook_url is None:
            return told + "<p>No webhook is set for this application.</p>"
        if not sent and service.is_silent(invoice.invoice_id):
            told += "<p>The webhook never comes: the application has to find out by asking.</p>"
        if service.webhooks.disabled_at is not None:
            return told + "<p class='state bad'><b>Webhooks are disabled</b>: nothing is sent.</p>"
        return told + markup.button(f"/invoice/{invoice.fields['hash']}/webhook", "Send the webhook again")

    async def show_check(self, request: Request) -> Response:
        """A check: to open, or already opened."""
        check = self._service.methods.checks.by_hash(request.path_params["hash"])
        if check is None:
            return self._gone()
        head = f"<h1>Check {check['check_id']}</h1><p class='amount'>{escape(check['amount'])} {escape(check['asset'])}</p>"
        if check["status"] == "activated":
            told = (
                f"<p class='state good' role='status'>✓ <b>Activated</b> at {markup.when(check['activated_at'])}.</p>"
            )
        else:
            told = (
                f"<form method='post' action='/check/{escape(check['hash'])}/activate'><fieldset><legend>You are</legend>"
                "<label class='field'>Telegram id<input type='number' name='user_id' value='1' min='1' required></label>"
                "<label class='field'>User name, if any<input type='text' name='username' maxlength='33'></label>"
                "<button class='first'>Take the coins</button></fieldset></form>"
            )
        return self._page(f"Check {check['check_id']}", head + told + markup.FOOT)

    # -- to do ---------------------------------------------------------------------------------------------------------

    async def pay(self, request: Request) -> Response:
        """Pay, in the way the pressed button says."""
        return await self._act(request, self._pay)

    async def expire(self, request: Request) -> Response:
        """Let it expire."""
        return await self._act(request, lambda invoice, _form: self._service.expire(invoice.invoice_id))

    async def send_again(self, request: Request) -> Response:
        """Send a paid invoice's webhook once more."""
        return await self._act(request, self._send_again)

    async def activate(self, request: Request) -> Response:
        """Take a check's coins."""
        check = self._service.methods.checks.by_hash(request.path_params["hash"])
        try:
            form = await _form(request)
        except _TooLargeError:
            return self._too_large()
        if check is None:
            return self._gone()
        address = f"/check/{check['hash']}"
        try:
            user_id = int(form.get("user_id", ""))
            await self._service.activate_check(check["check_id"], user_id, form.get("username"))
        except ValueError as error:
            return self._not_possible(error, address)
        return RedirectResponse(address, 303)

    async def set_faults(self, request: Request) -> Response:
        """Set the standing faults."""
        try:
            form = await _form(request)
            self._service.faults.standing = Standing(
                copies=int(form.get("copies", "1")),
                balance_off=int(form.get("balance_off", "0")),
                **{name: float(form.get(name, "0")) for name in ("late_s", "slow_s")},
                **{name: float(form.get(name, "0")) / _PERCENT for name in SHARES},
            )
        except _TooLargeError:
            return self._too_large()
        except ValueError as error:
            return self._not_possible(error, "/")
        return RedirectResponse("/", 303)

    async def switch(self, request: Request) -> Response:
        """Press one of the switches of the list."""
        do = self._switches.get((request.path_params["what"], request.path_params["do"]))
        if do is None:
            return self._gone()
        do()
        return RedirectResponse("/", 303)

    async def _pay(self, invoice: Invoice, form: dict[str, str]) -> object:
        how = form.get("how", "once")
        if how != "once" and how not in markup.WAYS:
            raise InvoiceError("there is no such way to pay")
        return await self._service.pay(
            invoice.invoice_id,
            form.get("asset", ""),
            webhook=how != "never",
            times_webhook=2 if how == "twice" else 1,
            webhook_delay=_LATE_S if how == "late" else 0.0,
            lost_attempts=1 if how == "lost" else 0,
            anonymously={"1": True, "0": False}.get(form.get("anonymously", "")),
            comment=form.get("comment") or None,
            swap=form.get("swap") != "0",
        )

    async def _send_again(self, invoice: Invoice, _form: dict[str, str]) -> None:
        if invoice.status != "paid":
            raise InvoiceError(f"invoice {invoice.invoice_id} is {invoice.status}")
        self._service.webhooks.send(invoice.invoice_id, 1)

    async def _act(self, request: Request, action: Callable[[Invoice, dict[str, str]], Awaitable[object]]) -> Response:
        try:
            form = await _form(request)
        except _TooLargeError:
            return self._too_large()
        invoice = self._service.by_hash(request.path_params["hash"])
        if invoice is None:
            return self._gone()
        address = f"/invoice/{invoice.fields['hash']}"
        try:
            await action(invoice, form)
        except InvoiceError as error:
            return self._not_possible(error, address)
        return RedirectResponse(address, 303)

    # -- answers -------------------------------------------------------------------------------------------------------

    def _page(self, title: str, body: str, *, status: int = 200, wide: bool = False, refresh: bool = False) -> Response:
        framed_by = self._service.framed_by or "'none'"
        policy = f"default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors {framed_by}"
        headers = {
            "Content-Security-Policy": policy,
            "Referrer-Policy": "same-origin",  # not no-referrer: forms would come with `Origin: null`
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-store",
        }
        return HTMLResponse(markup.document(title, body, wide=wide, refresh=refresh), status, headers=headers)

    def _gone(self) -> Response:
        text = "There is no such invoice, check or switch; an invoice may have been deleted or replaced."
        return self._page("No such page", f"<p>{text}</p>", status=404)

    def _too_large(self) -> Response:
        return self._page("Too large", "<p>Too large.</p>", status=413)

    def _not_possible(self, error: Exception, address: str) -> Response:
        back = f"<p><a href='{escape(address)}'>Back</a></p>"
        return self._page("Not possible", f"<p>Not possible: {escape(str(error))}.</p>{back}", status=409)


async def _form(request: Request) -> dict[str, str]:
    raw = b""
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > _FORM_LIMIT:
            raise _TooLargeError
    return dict(parse_qsl(raw.decode(errors="replace"), keep_blank_values=True))
