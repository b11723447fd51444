"""The webhook is said, never deleted, nothing is dropped; it is read back; a wrong address is found before Telegram hears of it."""

from __future__ import annotations

import contextlib
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

import pytest

from infra.deploy import variable_files
from infra.deploy.problems import Refused
from infra.deploy.steps import webhook
from tests.unit.deploy import fakes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECRET = "the_secret"


@contextlib.contextmanager
def _function(stranger: int, known: int) -> Iterator[str]:
    """telegram_webhook as far as it is asked here: its answers to a stranger and to who has the secret."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(known if self.headers["X-Telegram-Bot-Api-Secret-Token"] == SECRET else stranger)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _setting(tmp_path: Path, url: str) -> fakes.Setting:
    setting = fakes.world(tmp_path)
    setting.world.offline = True
    setting.terraform.told["telegram_webhook"] = {"url": url, "max_connections": 40}
    setting.cloud.versions |= {
        "telegram-bot-token": [(fakes.TOKEN, True)],
        "telegram-webhook-secret": [(f"{SECRET},the_old_one", True)],
    }
    versions = {"TELEGRAM_BOT_TOKEN": "1", "TELEGRAM_WEBHOOK_SECRET": "1"}
    variable_files.write_secret_versions(setting.world.folder, versions)
    return setting


@pytest.mark.proves("S2-1.2")
def test_it_is_said_whole_and_read_back(tmp_path: Path) -> None:
    with _function(403, 400) as url:
        setting = _setting(tmp_path, url)
        change = webhook.look(setting.world)
        change.carry_out()
    assert "3 updates wait and are kept" in change.lines
    assert setting.telegram.methods() == ["getWebhookInfo", "setWebhook", "getWebhookInfo"]
    assert setting.telegram.calls[1][1] == {
        "url": url,
        "secret_token": SECRET,
        "max_connections": 40,
        "allowed_updates": fakes.ALLOWED,
        "drop_pending_updates": False,
    }
    assert not change.asks or "address" in change.lines[0]


@pytest.mark.proves("S2-1.2")
def test_what_is_read_back_otherwise_fails_the_deploy(tmp_path: Path) -> None:
    with _function(403, 400) as url:
        setting = _setting(tmp_path, url)
        setting.telegram.another = "https://elsewhere.example.org"
        with pytest.raises(
            Refused, match=r"another webhook than it was told: address: https://elsewhere\.example\.org"
        ):
            webhook.look(setting.world).carry_out()


def test_too_many_requests_are_waited_out_and_a_refusal_is_told_with_what_it_means(tmp_path: Path) -> None:
    with _function(403, 400) as url:
        setting = _setting(tmp_path, url)
        setting.telegram.refusals = ["Too Many Requests: retry after 1"]
        webhook.look(setting.world).carry_out()
        assert setting.telegram.methods().count("setWebhook") == 2
        setting.telegram.refusals = ["Bad Request: bad webhook: Failed to resolve host"]
        with pytest.raises(Refused, match="may be without a webhook now"):
            webhook.look(setting.world).carry_out()


@pytest.mark.proves("S2-1.3")
@pytest.mark.parametrize(
    ("stranger", "known", "words"),
    [
        (404, 404, "answers 404 to a stranger"),
        (200, 200, "answers 200 to a stranger"),
        (503, 503, "answers 503 to a stranger"),
        (403, 403, "does not know the secret that is in force"),
        (403, 503, "answers 503 to a genuine call"),
        (403, 200, "answers 200 to a genuine call"),
    ],
)
def test_an_address_where_this_function_does_not_answer_is_refused_before_telegram_hears_of_it(
    tmp_path: Path, stranger: int, known: int, words: str
) -> None:
    with _function(stranger, known) as url:
        setting = _setting(tmp_path, url)
        with pytest.raises(Refused, match=words):
            webhook.look(setting.world)
    assert "setWebhook" not in setting.telegram.methods()


@pytest.mark.proves("S2-1.3")
@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://vpn.example.org/", "https alone"),
        ("https://localhost/", "no host on the internet"),
        ("https://vpn.example.org:8080/", "ports 80, 88, 443, 8443 alone"),
        ("https://user@vpn.example.org/", "no host on the internet"),
        ("https://[::1", "no address"),
        ("ftp://vpn.example.org/", "https alone"),
        ("https://vpn.example.invalid/", "nothing answers there"),
        ("http://127.0.0.1:1/", "https alone"),
        ("", "https alone"),
    ],
)
def test_what_can_be_no_webhook_is_refused_in_words(tmp_path: Path, url: str, words: str) -> None:
    setting = _setting(tmp_path, url)
    setting.world.offline = False
    with pytest.raises(Refused, match=words):
        webhook.look(setting.world)
    assert "setWebhook" not in setting.telegram.methods()
