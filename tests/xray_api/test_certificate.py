"""The node service's certificate: made on the node once, exchanged without a restart, never by half."""

from __future__ import annotations

import asyncio
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from xray_api import certificate
from xray_api.certificate import CertificateError, Exchangeable

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.proves("S3-9")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "xray_api", *arguments], capture_output=True, text=True, check=False, timeout=60
    )


def test_the_command_makes_it_once_and_prints_its_pin_alone(tmp_path: Path) -> None:
    path = tmp_path / "tls.pem"
    first = run("certificate", str(path))
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout == f"{certificate.pin_of(path)}\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    made = path.read_bytes()
    assert (run("certificate", str(path)).stdout, path.read_bytes()) == (first.stdout, made)
    assert [one.name for one in tmp_path.iterdir()] == ["tls.pem"], "nothing half made is left"


def test_openssl_finds_the_same_pin(tmp_path: Path) -> None:
    pin = certificate.make(tmp_path / "tls.pem")
    said = b""
    for command in ("x509 -in tls.pem -pubkey -noout", "pkey -pubin -outform der", "dgst -sha256 -r"):
        done = subprocess.run(["openssl", *command.split()], cwd=tmp_path, input=said, capture_output=True, check=True)
        said = done.stdout
    assert said.split()[0].decode() == pin


@pytest.mark.parametrize("arguments", [("certificate",), ("certificate", "a", "b"), ("serve",), ("--help",)])
def test_other_words_are_refused(arguments: tuple[str, ...]) -> None:
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "usage" in done.stderr


def test_what_is_there_and_no_certificate_is_kept_and_refused(tmp_path: Path) -> None:
    path = tmp_path / "tls.pem"
    path.write_text("of another program")
    done = run("certificate", str(path))
    assert (done.returncode, done.stdout, path.read_text()) == (2, "", "of another program")
    with pytest.raises(CertificateError, match="can't be written"):
        certificate.make(tmp_path / "no" / "tls.pem")


async def test_many_at_once_make_one(tmp_path: Path) -> None:
    path = tmp_path / "tls.pem"
    assert len(set(await asyncio.gather(*(asyncio.to_thread(certificate.make, path) for _ in range(8))))) == 1


def test_half_an_exchange_shows_what_was_shown_before(tmp_path: Path) -> None:
    old, new = certificate.make(tmp_path / "old.pem"), certificate.make(tmp_path / "new.pem")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    for path in (cert, key):
        path.write_bytes((tmp_path / "old.pem").read_bytes())
    shown = Exchangeable(cert, key)
    cert.write_bytes((tmp_path / "new.pem").read_bytes())
    shown.refresh()
    assert (shown.pin, shown.problem is None) == (old, False)
    cert.unlink()
    shown.refresh()
    assert (shown.pin, shown.problem is None) == (old, False)
    for path in (cert, key):
        path.write_bytes((tmp_path / "new.pem").read_bytes())
    shown.refresh()
    assert (shown.pin, shown.problem) == (new, None)
