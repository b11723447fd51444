"""S4-13 of a new key: SIGKILL at each of its places; all of it happened or nothing, and it happens once."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from functions.sweeps import sweep_activation
from lib.domain import reissue
from lib.domain.reissue import Refusal, Reissued
from tests.integration.sweeps.lives import customer
from tests.integration.sweeps.runs import sweep_run

if TYPE_CHECKING:
    from collections.abc import Callable

    from lib.db import Database
    from tests.integration.sweeps.nodes import Network

_LIST = Path(__file__).resolve().parents[3] / "docs" / "acceptance.toml"
# Where it dies, by the failpoint, and whether the key is new then; None: COMMIT was sent, so the server may have it or not.
_PLACES: dict[str, tuple[str, bool | None]] = {
    "before-claim": ("reissue.before-claim", False),
    "after-claim": ("reissue.after-claim", False),
    "mid-transaction": ("reissue.mid-transaction", False),
    "in-commit": ("reissue.in-commit", None),
    "after-commit": ("after-commit", True),
}


def test_the_cells_are_the_acceptance_list() -> None:
    document = tomllib.loads(_LIST.read_text())
    listed = {name for part in ("life", "not_applicable") for name in document[part]}
    cells = {f"S4-13.reissue.{point}" for point in [*_PLACES, "after-call"]}
    assert cells == {name for name in listed if name.startswith("S4-13.reissue.")}


@pytest.mark.parametrize(
    ("place", "stands"),
    [
        pytest.param(place, stands, id=point, marks=pytest.mark.proves(f"S4-13.reissue.{point}"))
        for point, (place, stands) in _PLACES.items()
    ],
)
async def test_it_is_made_once(
    processes: Callable[[int], list[Database]],
    two_nodes: Network,
    functions_url: str,
    tmp_path: Path,
    place: str,
    *,
    stands: bool | None,
) -> None:
    anna = await customer(processes(1)[0], two_nodes)
    before = await anna.held()
    (tmp_path / place).touch()
    dying = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.integration.sweeps.reissue_and_die", functions_url, str(anna.account), str(before.generation)),
        env={**os.environ, "ENVIRONMENT": "local", "ATLAS_FAILPOINTS": str(tmp_path)},
    )
    assert await dying.wait() == -signal.SIGKILL
    assert not (tmp_path / place).exists()
    seen = await anna.held()
    assert stands is None or (seen.uuid != before.uuid) == stands
    if seen.uuid == before.uuid:
        assert seen == before
        assert anna.keys() == [{str(before.uuid)}] * 2
    again = await anna.db.run(
        lambda tx: reissue.reissue(tx, anna.account, correlation_id="c", generation=before.generation)
    )
    assert isinstance(again, Reissued) if seen.uuid == before.uuid else again is Refusal.STALE
    await sweep_activation._activate(sweep_run(anna.db, "activation"))
    after = await anna.held()
    assert (after.generation, after.activation_status) == (before.generation + 1, "active")
    assert anna.keys() == [{str(after.uuid)}] * 2
    assert await anna.history() == ["granted", "reissued"]
