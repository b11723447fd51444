from __future__ import annotations

import importlib.util
from pathlib import Path

from lib import function_table

ROOT = Path(__file__).parents[3]
TABLE = function_table.load()


def test_every_row_has_its_module_and_every_module_its_row() -> None:
    modules = {
        f"functions.{path.parent.name}.{path.stem}"
        for path in (ROOT / "functions").glob("*/*.py")
        if path.stem != "__init__"
    }
    assert modules == {function.module for function in TABLE.functions.values()}
    for module in modules:
        assert importlib.util.find_spec(module) is not None


def test_deadlines_are_ordered() -> None:
    for function in TABLE.functions.values():
        if function.deadline_s is not None:
            assert function.timeout_s < function.deadline_s <= 1800, function.name


def test_threads_are_connections_and_enough() -> None:
    for function in TABLE.functions.values():
        assert function.connections >= 2, function.name


def test_queues_and_triggers_fit_together() -> None:
    for function in TABLE.functions.values():
        assert (function.trigger == "task") == (function.queue is not None), function.name
        assert (function.trigger == "schedule") == (function.schedule is not None), function.name
        assert (function.trigger == "schedule") == (function.flag is not None), function.name
        for queue in (*function.enqueues, *filter(None, [function.queue])):
            assert queue in TABLE.queues, (function.name, queue)


def test_a_sweep_hands_on_by_its_queue() -> None:
    for function in TABLE.functions.values():
        if function.trigger == "schedule":
            assert "sweeps" in function.enqueues, function.name
