"""The recorded state against a model of it, change by change."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from xray_api.store import Change, Client, Store, uuid_key

GRACE_MS, NOW_MS = 1000, 1_000_000
UUIDS = [f"00000000-0000-4{digit}00-8000-00000000000{digit}" for digit in range(3)]
CLIENTS = ["a", "b", "c"]

changes = st.builds(
    Change,
    client=st.sampled_from(CLIENTS),
    version=st.integers(1, 6),
    wanted=st.booleans(),
    uuid=st.sampled_from(UUIDS),
    expiry_ms=st.sampled_from([NOW_MS - GRACE_MS, NOW_MS + 1, NOW_MS + 2]),
)


def opened(folder: str) -> Store:
    return Store(Path(folder) / "state.sqlite3", GRACE_MS)


def rows(store: Store) -> dict[str, Client]:
    return {client: row for client in CLIENTS if (row := store.find(client)) is not None}


def test_commits_are_synced_to_the_disk(tmp_path: Path) -> None:
    store = opened(str(tmp_path))
    assert store._db.execute("pragma synchronous").fetchone() == (2,), "FULL"
    assert store._db.execute("pragma journal_mode").fetchone() == ("wal",)
    assert (tmp_path / "state.sqlite3").stat().st_mode & 0o077 == 0, "UUIDs are for the owner alone"
    store.close()


@settings(max_examples=60, deadline=None)
@given(st.lists(changes, min_size=1, max_size=25))
def test_versions_never_go_back_and_no_uuid_is_wanted_twice(asked: list[Change]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = opened(folder)
        for change in asked:
            before = rows(store)
            (recorded,) = store.apply([change], NOW_MS, frozenset())
            after = rows(store)
            held = before.get(change.client)
            if recorded.error is None:
                row = after[change.client]
                assert (row.version, row.state == "wanted") == (change.version, change.wanted)
                if change.wanted:
                    assert (row.uuid, row.expiry_ms) == (change.uuid, change.expiry_ms)
                assert store.apply([change], NOW_MS, frozenset())[0].error is None, "idempotent"
                assert rows(store) == after
            elif recorded.error != "expired on this node":
                assert after == before, "a refused change leaves no trace"
            if held is not None:
                assert after[change.client].version >= held.version
            keys = [uuid_key(row.uuid or "") for row in after.values() if row.state == "wanted"]
            assert len(keys) == len(set(keys))
            names = [row.name for row in after.values() if row.name]
            assert len(names) == len(set(names))
        last = rows(store)
        store.close()
        again = opened(folder)
        assert rows(again) == last
        again.close()


def test_without_a_version_it_is_one_newer_unless_nothing_changes(tmp_path: Path) -> None:
    store = opened(str(tmp_path))
    add = Change("a", None, wanted=True, uuid=UUIDS[0], expiry_ms=NOW_MS + 1)
    for change, version in ((add, 1), (add, 1), (Change("a", None, wanted=False), 2), (add, 3)):
        (recorded,) = store.apply([change], NOW_MS, frozenset())
        assert recorded.held is not None
        assert (recorded.error, recorded.held.version) == (None, version)
    store.close()


def test_a_uuid_that_another_client_runs_in_xray_is_in_use(tmp_path: Path) -> None:
    store = opened(str(tmp_path))
    change = Change("a", 1, wanted=True, uuid=UUIDS[0], expiry_ms=NOW_MS + 1)
    assert store.apply([change], NOW_MS, frozenset({uuid_key(UUIDS[0])}))[0].error == "uuid in use"
    assert store.find("a") is None
    store.close()
