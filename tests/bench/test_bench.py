"""The benchmarks run, tiny, and write what they promise. Their figures are not looked at here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

ROOT = Path(__file__).resolve().parents[2]
# six whole systems, a database with a node and two nodes are started one after the other: half a minute on a quiet machine, minutes on a crowded one


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    run = subprocess.run(
        [sys.executable, "-m", "bench", "--small", "--out", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=580,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-4000:]
    return folder


@pytest.fixture(scope="module")
def content(results: Path) -> dict[str, Any]:
    (file,) = results.glob("*.json")
    read: dict[str, Any] = json.loads(file.read_text())
    return read


def test_every_target_of_the_contract_is_judged(content: dict[str, Any]) -> None:
    judged = [(row["id"], row["target"]) for row in content["table"] if row["met"] is not None]
    assert sorted(judged) == sorted(
        [
            *(("P1", "≥ 1.2x"), ("P1", "≤ 0.8x"), ("P1", "≤ 0.9x")),
            *(("P2", "≤ 4x"), ("P2", "≤ 0.4x"), ("P2", "≤ 2x"), ("P2", "≤ 2x")),
            *(("P3", "≥ 0.5x"), ("P3", "≤ 12 statements")),
            *(("P4", "≤ 2x"), ("P4", "≤ 10 s")),
            *(("P5", "≥ 0.5x"), ("P6", "≥ 100x"), ("P6", "≤ 0 connections")),
            *(("P7", "≤ 3 s"), ("P7", "≤ 12 calls")),
            *(("P9", "≤ 1.2x"), ("P9", "≤ 0 settlements")),
            *(("P11", "≤ 2.3x"), ("P11", "≤ 6x")),
            *(("P12", "≤ 3x"), ("P12", "≤ 0 errors")),
        ]
    )


def test_workers_and_pgbench_settled_by_the_same_statements(content: dict[str, Any]) -> None:
    measured = content["measured"]["P3"]
    assert 0 < len(measured["statements"]) <= 12
    assert any(one.startswith("insert into payment_events") for one in measured["statements"])
    assert any("insert into ledger_entries" in one for one in measured["statements"])
    assert measured["seconds"]["n"] == 4 * 3
    assert min(one["median"] for one in measured["per_second"].values()) > 0
    assert list(measured["median_s_by_orders"]) == ["10", "100", "200"]


def test_everything_over_was_ended_beside_its_floor(content: dict[str, Any]) -> None:
    measured = content["measured"]["P4"]
    assert [measured["seconds"][side]["n"] for side in ("sweep", "floor")] == [1, 1]
    assert min(side["min"] for side in measured["seconds"].values()) > 0
    assert list(measured["median_s_by_due"]) == ["2", "20", "40"]


def test_everything_pending_was_applied_beside_the_cores_own_adds(content: dict[str, Any]) -> None:
    measured = content["measured"]["P5"]
    assert measured["keys"] == 2 * 2 + 20 + 40
    assert list(measured["median_s_by_pending"]) == ["2", "20", "40"]
    assert [measured["per_second"][side]["n"] for side in ("ours", "raw")] == [1, 1]
    assert min(side["min"] for side in measured["per_second"].values()) > 0


def test_clients_were_added_under_downloads_that_went_on_and_a_restart_cut_them(content: dict[str, Any]) -> None:
    measured = content["measured"]["P6"]
    counts = {name: series["n"] for name, series in measured["seconds"].items()}
    assert counts == {"add": 5, "add_among_a_tenth": 5, "rewrite": 1}
    assert measured["dropped"] == {"add": 0, "rewrite": measured["downloads"]}
    assert measured["faster"] > 0


def test_a_storm_of_copies_settled_each_order_once(content: dict[str, Any]) -> None:
    measured = content["measured"]["P9"]
    assert (measured["settled"], measured["orders"]) == (8, 8)
    for series in measured["p99_s"].values():
        assert series["n"] == 1
        assert series["median"] > 0


def test_three_servers_answered_the_same_updates(content: dict[str, Any]) -> None:
    measured = content["measured"]["P1"]
    assert len(measured["servers"]) == 3
    assert measured["updates_answered_alike"] == 2 * (80 + 8)  # the empty function keeps nothing
    for name, server in measured["servers"].items():
        assert server["per_second"]["n"] == 1, name
        assert 0 < server["p50_s"]["median"] <= server["p99_s"]["median"], name
        assert server["cpu_s_per_update"]["median"] > 0, name


def test_payments_settled_and_everybody_was_greeted_in_the_burst(content: dict[str, Any]) -> None:
    measured = content["measured"]["P12"]
    assert measured["errors"] == []
    assert [len(round_) for round_ in measured["seconds"]["start"]] == [8]
    assert [len(round_) for round_ in measured["seconds"]["quiet"]] == [4]
    assert 1 <= measured["payments_in_burst"][0] <= 8


def test_every_public_target_was_started_cold_beside_both_comparisons(content: dict[str, Any]) -> None:
    starts = content["measured"]["P2"]["starts"]
    assert len(starts) == 6
    for name, taken in starts.items():
        assert len(taken) == 1, name
        assert 0 < taken[0]["accepted_s"] <= taken[0]["seconds"], name
        assert taken[0]["cpu_s"] > 0, name


def test_access_takes_at_least_as_long_as_the_webhook_s_answer(content: dict[str, Any]) -> None:
    seconds = content["measured"]["P11"]["seconds"]
    assert len(seconds["access"]["samples"]) == len(seconds["floor"]["samples"]) == 2
    assert seconds["key"]["n"] == 1
    assert seconds["access_in_parallel"]["n"] == 4
    assert seconds["access"]["min"] > seconds["webhook_answered"]["min"] > 0
    assert seconds["access_with_two_nodes"]["n"] == 2
    assert seconds["key_all_cold"]["min"] > seconds["empty_function_started"]["min"] > 0
    assert min(content["measured"]["P11"]["cpu_s_per_order"].values()) >= 0


def test_a_person_was_answered(content: dict[str, Any]) -> None:
    run = content["measured"]["first-message"]["first_run_s"]
    assert 0 < run["up"] < run["answered"]


def test_the_page_says_on_what_and_with_what_it_was_measured(results: Path, content: dict[str, Any]) -> None:
    (page,) = results.glob("*.md")
    text = page.read_text()
    assert content["versions"]["aiogram"] in text
    assert "figures mean nothing" in text
    assert text.count("\n| P") == sum(bool(row["id"]) for row in content["table"])
    for picture in results.glob("*.svg"):
        assert picture.name in text
        ET.fromstring(picture.read_text())  # noqa: S314 -- our own file
    assert len(list(results.glob("*.svg"))) == 10
