"""What is uploaded, installed as the platform installs it: the bundle alone, beside nothing but its requirements.txt."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest

from infra import bundle
from sandbox.system.system import System

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The bundle's content in a folder of its own."""
    folder = tmp_path_factory.mktemp("deployed")
    bundle.build(folder / "bundle.zip")
    with zipfile.ZipFile(folder / "bundle.zip") as archive:
        archive.extractall(folder / "source")
    yield folder / "source"
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def clean_python(unpacked: Path) -> Path:
    """`bin/python` of an environment that holds the bundle's requirements.txt, every file of it by its hash, and no more."""
    home = unpacked.parent / "venv"
    pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
    done = subprocess.run(
        [home / "bin" / "python", *pip, "--require-hashes", "-r", unpacked / "requirements.txt"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"requirements.txt can't be installed:\n{done.stderr[-3000:]}"
    return home / "bin" / "python"


class FromTheBundle(System):
    """The local system with every function started from the bundle, in the clean environment."""

    source: Path
    python: Path

    def _assemble(self) -> None:
        super()._assemble()
        for process in self.fleet.chosen():
            process.argv = (str(self.python.with_name("functions-framework")), *process.argv[1:])
            process._cwd = self.source
            for name in ("VIRTUAL_ENV", "PYTHONPATH"):
                process.env.pop(name, None)


@pytest.fixture(scope="module")
async def deployed(
    unpacked: Path, clean_python: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[FromTheBundle]:
    """All targets of the table from the bundle, beside a real migrated Postgres, a real node and the stand-ins."""
    system = FromTheBundle(tmp_path_factory.mktemp("system"))
    system.source, system.python = unpacked, clean_python
    async with system:
        yield system
