"""`make health`: the keyed answer, without the key in sight."""

from __future__ import annotations

import http.server
import json
import threading
from typing import TYPE_CHECKING

import pytest

from infra import environment, health
from sandbox.state.home import Home

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

KEY = "marked-health-key"


@pytest.fixture
def answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int, bytes], None]]:
    """A local system whose `health` answers its key with what the test says, and any other key with 403."""
    said: list[tuple[int, bytes]] = []

    class Health(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.path == "/health/" and self.headers["X-Health-Key"] == KEY
            status, body = said[-1] if known else (403, b'{"ok": false}')
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Health)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    home = Home(tmp_path / ".local")
    home.take()
    template = f"http://127.0.0.1:{server.server_port}/{{name}}"
    settings = {"TASKS_PROJECT": "p", "TASKS_LOCATION": "l", "HEALTH_KEY": KEY, "FUNCTION_URL_TEMPLATE": template}
    home.announce({"url": "http://127.0.0.1:1", "database": "postgresql://u@127.0.0.1/x", "settings": settings})
    monkeypatch.setattr(environment, "LOCAL_HOME", home.path)
    yield lambda status, body: said.append((status, body))
    home.let_go()
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [(200, {"ok": True, "sweeps": {}}, 0), (503, {"ok": False, "red": ["sweep expiry has never ended well"]}, 1)],
)
def test_the_answer_is_told_and_red_is_exit_code_1(
    status: int,
    body: dict[str, object],
    code: int,
    answers: Callable[[int, bytes], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    answers(status, json.dumps(body).encode())
    assert health.main(["--env", "local"]) == code
    told = capsys.readouterr()
    assert json.loads(told.out) == body
    assert KEY not in told.out + told.err


@pytest.mark.parametrize(
    ("status", "body", "words"), [(403, b"{}", "another HEALTH_KEY"), (502, b"<html>", "answers 502 and no JSON")]
)
def test_another_answer_is_said_in_words(
    status: int,
    body: bytes,
    words: str,
    answers: Callable[[int, bytes], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    answers(status, body)
    assert health.main(["--env", "local"]) == 1
    assert words in capsys.readouterr().err


def test_a_system_that_is_not_up_or_not_known_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(environment, "LOCAL_HOME", tmp_path)
    assert health.main(["--env", "local"]) == 2
    assert health.main(["--env", ""]) == 2
    assert capsys.readouterr().err.count("health: ENV=") == 2
