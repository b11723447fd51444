"""moto as the store, a process of its own on loopback; each test has a bucket."""

from __future__ import annotations

import itertools
import os
import subprocess
from typing import TYPE_CHECKING

import httpx
import pytest

from lib.settings.plain import StoreSettings
from sandbox.state.ports import free_port
from tests.integration.off_site import buckets
from tests.integration.off_site.buckets import Bucket
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

_NUMBERS = itertools.count(1)


@pytest.fixture(scope="session")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The store's address; a machine without it skips by name, CI fails."""
    if not buckets.PYTHON.exists():
        missing = "moto: no .venv-store (tests/integration/off_site/requirements.txt)"
        if os.environ.get("CI", "").lower() in {"1", "true"}:
            pytest.fail(missing)
        pytest.skip(missing)
    port = free_port()
    log = tmp_path_factory.mktemp("moto") / "log"
    with log.open("wb") as told:
        process = subprocess.Popen(
            [str(buckets.PYTHON), "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            env={"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"},
            stdout=told,
            stderr=told,
        )
    address = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            return httpx.get(f"{address}/moto-api/", timeout=1, trust_env=False).status_code < 500
        except httpx.HTTPError:
            return False

    try:
        wait_until(answers, "moto to answer", seconds=60)
        yield address
    finally:
        process.kill()
        process.wait()


@pytest.fixture
async def bucket(endpoint: str) -> AsyncIterator[Bucket]:
    """An empty bucket that keeps every version of what is written."""
    settings = StoreSettings(
        f"books-{os.getpid()}-{next(_NUMBERS)}", "atlas", endpoint, "us-east-1", "an-id", "a-secret-key"
    )
    async with httpx.AsyncClient(trust_env=False) as client:
        made = Bucket(client, settings)
        await made.make()
        yield made
