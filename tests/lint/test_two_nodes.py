"""Every system that a test, the demo or the bench starts has two nodes, and tests break one of them or both by saying so."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from sandbox.system.nodes import NODE_NAMES
from sandbox.system.system import System

ROOT = Path(__file__).resolve().parents[2]
STARTED_FROM = ("tests/e2e", "tests/browser", "tests/bench", "tests/sandbox", "bench", "sandbox/commands")
# A node of its own is for what a node alone does, where no customer is provisioned, and for one that joins the two. The failure matrix
# makes two, beside functions that run in the test's own process. P4 and P5 measure one node, P6 one against its own core.
ALONE = {
    "bench/hot_add.py",
    "bench/one_node.py",
    "tests/integration/sweeps/test_real_node.py",
    "tests/integration/sweeps/test_failure_matrix_on_real_nodes.py",
    "tests/e2e/test_node_commands.py",
}


@pytest.mark.proves("G-10")
def test_a_system_has_two_nodes_with_keys_and_ports_of_their_own(tmp_path: Path) -> None:
    system = System(tmp_path)
    system.home.take()
    try:
        system._assemble()
        assert len(NODE_NAMES) == len(system.nodes) == 2
        assert len({node.key for node in system.nodes}) == 2
        assert len({port for node in system.nodes for port in (node.port, node.api_port, node.url)}) == 6
        assert [node.url.partition(":")[0] for node in system.nodes] == ["http", "https"], (
            "one on this machine, one by its pin"
        )
        assert system.settings()["XRAY_API_KEY"] == system.nodes[0].key
    finally:
        system.home.let_go()


@pytest.mark.proves("G-10")
def test_no_test_of_access_makes_a_node_of_its_own_or_a_system_with_other_nodes() -> None:
    made = [
        f"{path.relative_to(ROOT)}:{call.lineno}"
        for folder in (*STARTED_FROM, "tests/integration", "tests/deploy")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if "XrayNode" in (text := path.read_text(encoding="utf-8"))
        for call in ast.walk(ast.parse(text))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "XrayNode"
        if str(path.relative_to(ROOT)) not in ALONE
    ]
    assert made == [], "let it use the nodes of a System"
