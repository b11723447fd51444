"""What an earlier commit is told is what its own settings take (`make bench ARGS="--against ..."`)."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sandbox.cloud.checkout import HERE, Checkout
from sandbox.system import platform

ONE = "tasks-invoker@atlas-local.iam.gserviceaccount.com"


@pytest.mark.parametrize("file", ["sandbox/system/platform.py", "sandbox/system.py"])
def test_a_commit_with_one_account_for_all_queues_is_told_that_one(file: str, tmp_path: Path) -> None:
    """As commits before an account for each queue have it: their settings refuse braces in an address."""
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).write_text(f'import re\n\nTASKS_INVOKER = "{ONE}"\nOTHER = 1\n', "utf-8")
    before = Checkout(tmp_path, Path(sys.executable))
    assert platform.tasks_invokers(before) == ONE
    assert {platform.tasks_invoker(queue, before) for queue in HERE.table.queues} == {ONE}


def test_a_tree_without_a_local_system_is_told_what_this_one_is(tmp_path: Path) -> None:
    after = Checkout(tmp_path, Path(sys.executable))
    assert platform.tasks_invokers(after) == platform.tasks_invokers() == platform.TASKS_INVOKER
    assert platform.tasks_invoker("nodes", after) == "tasks-nodes@atlas-local.iam.gserviceaccount.com"
