"""The lock of what the image installs: exactly the pins, closed under what they need, each file by its hash, no index named."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import distribution
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from infra import bundle, lock

if TYPE_CHECKING:
    from pathlib import Path

TEXT = (bundle.ROOT / bundle.LOCK).read_text()
_IMAGE = {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix", "platform_machine": "x86_64"}


def test_it_is_of_exactly_the_pins_and_every_one_has_hashes() -> None:
    wanted = (bundle.ROOT / bundle.PINS).read_text()
    assert bundle.differences(wanted, TEXT) == []
    # `pins` reads what is there, whatever begins a line: a pin in another form would be passed over.
    said = [line for line in wanted.splitlines() if line.partition("#")[0].strip()]
    assert len(said) == len(bundle.pins(wanted))


def test_every_line_is_a_pin_a_hash_or_that_nothing_is_compiled() -> None:
    """So no index, no address and no file is named, and pip reads each line as what it is here."""
    known = r"#.*|--only-binary :all:|[A-Za-z0-9][\w.-]*==[\w.]+ \\|    --hash=sha256:[0-9a-f]{64}(?: \\)?|"
    assert [line for line in TEXT.splitlines() if not re.fullmatch(known, line)] == []
    assert "\n--only-binary :all:\n" in TEXT
    assert "://" not in TEXT


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13", "3.14"])
def test_it_holds_whatever_its_packages_need(python: str) -> None:
    """What pip would add by itself, it would add without a hash: it refuses instead, so the build of the image would fail."""
    pinned = bundle.pins(TEXT)
    environment = _IMAGE | {"python_version": python, "python_full_version": f"{python}.0"}
    seen: set[tuple[str, str]] = set()
    waiting = [(name, "") for name in pinned]
    lacking = []
    while waiting:
        name, extra = one = waiting.pop()
        if one in seen:
            continue
        seen.add(one)
        if name not in pinned:
            lacking.append(name)
            continue
        found = distribution(name)
        assert found.version == pinned[name], f"{name} {found.version} is installed here"
        for text in found.requires or []:
            need = Requirement(text)
            if need.marker is None or need.marker.evaluate(environment | {"extra": extra}):
                other = canonicalize_name(need.name)
                assert need.specifier.contains(pinned.get(other, "0"), prereleases=True) or other not in pinned
                waiting += [(other, wanted) for wanted in ("", *need.extras)]
    assert lacking == []


def test_it_is_made_for_the_python_that_the_image_is_built_with() -> None:
    variables = (bundle.ROOT / "infra/terraform/modules/platform/variables.tf").read_text()
    (built_with,) = re.findall(r'variable "python_version" \{.*?default\s+= "([0-9.]+)\.x"', variables, re.DOTALL)
    assert built_with == lock.PYTHON


def test_the_server_is_found_in_it() -> None:
    """The buildpack looks for it by a line of this form, and would add one of its own choice."""
    assert re.search(r"(?m)^functions-framework\b([^-]|$)", TEXT)
    assert re.search(r"(?m)^gunicorn\b([^-]|$)", TEXT)


def test_a_file_of_another_content_is_refused(tmp_path: Path) -> None:
    """By pip's own rule, without an option: the buildpack gives none."""
    (block,) = re.findall(r"^segno==[^\n]+\n(?:    --hash[^\n]+\n)+", TEXT, re.MULTILINE)
    exchanged = re.sub(r"sha256:[0-9a-f]{64}", f"sha256:{'0' * 64}", block)
    assert _pip(block, tmp_path).returncode == 0
    refused = _pip(exchanged, tmp_path)
    assert refused.returncode == 1
    assert "DO NOT MATCH THE HASHES" in refused.stderr


def _pip(text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    (folder / "requirements.txt").write_text(f"--only-binary :all:\n{text}")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(folder / "files")]
    return subprocess.run(
        [*command, "-r", str(folder / "requirements.txt")], capture_output=True, text=True, check=False
    )


def _uv(tmp_path: Path, script: str) -> Path:
    """Something in uv's place: a shell script with the path it is to write as $out."""
    made = tmp_path / "uv"
    made.write_text(f'#!/bin/sh\nwhile [ "$1" != --output-file ]; do shift; done\nout=$2\n{script}\n')
    made.chmod(0o755)
    return made


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A checkout's two files."""
    root = tmp_path / "tree"
    (root / "infra").mkdir(parents=True)
    (root / bundle.PINS).write_text("a==1\n")
    (root / bundle.LOCK).write_text("before\n")
    return root


HASH = "--hash=sha256:" + "0a" * 32


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo 'no solution' >&2; exit 1", "no solution"),
        (f"echo 'a==1 {HASH}' > $out; echo 'b==2 {HASH}' >> $out", "requirements.txt is not closed: b 2 is locked"),
        ("echo 'a==1' > $out", "a==1 is locked without a hash"),
    ],
)
def test_a_lock_that_cannot_be_made_leaves_the_old_one(tree: Path, tmp_path: Path, script: str, words: str) -> None:
    with pytest.raises(lock.LockFailed, match=words):
        lock.lock(tree, _uv(tmp_path, script))
    assert (tree / bundle.LOCK).read_text() == "before\n"


def test_a_lock_is_written_once(tree: Path, tmp_path: Path) -> None:
    uv = _uv(tmp_path, f"echo 'a==1 {HASH}' > $out")
    assert lock.lock(tree, uv)
    assert not lock.lock(tree, uv)
    assert [path.name for path in (tree / "infra").iterdir()] == ["requirements.lock"]
