"""Settings and secrets: present, of the right shape, and the version that functions are pinned to can be read."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from infra.doctor.check import Check, NotCheckedError, WrongError, insist

if TYPE_CHECKING:
    from collections.abc import Mapping

    from infra.doctor.deployment import Deployment, Json

_ROOT = Path(__file__).resolve().parents[2]
_SUBJECT = "Settings and secrets"
_WANTED = {
    "TELEGRAM_WEBHOOK_SECRET": "the webhook answers 503 to Telegram",
    "HEALTH_KEY": "no full answer of health can be had",
}
"""What the functions start without and a shop can't do without."""
_TOKENS = {"cryptobot": "CRYPTOPAY_TOKEN", "card": "TELEGRAM_PROVIDER_TOKEN"}
"""Methods that Telegram's terms do not ask for, each offered once its token is set."""
_TERMS = (
    "Telegram's terms ask for Stars alone where digital goods are sold in the chat: docs/product.md, Payment methods"
)
_OF_THE_IMAGE = "TARIFFS_PATH"
"""A path inside the image of the functions, which is not here."""


async def settings(deployment: Deployment) -> str:
    """Every setting by the check that functions make of theirs, in a process of its own: it reads its environment once."""
    given = await deployment.everything()
    if deployment.name != "local":
        given.pop(_OF_THE_IMAGE, None)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "lib.settings.check"),
        cwd=_ROOT,
        env={"PATH": os.defpath, **given},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        _, said = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    problems = said.decode(errors="replace").splitlines() if process.returncode else []
    problems += [f"{name}: is not set: {what}" for name, what in _WANTED.items() if not given.get(name)]
    if given.get("ENVIRONMENT", "prod") != deployment.name:
        problems.append(f"ENVIRONMENT: says {given.get('ENVIRONMENT') or 'nothing, so prod'}, not {deployment.name}")
    insist(problems)
    return "; ".join(filter(None, (f"{len(given)} of them", beside_stars(given))))


def beside_stars(given: Mapping[str, str]) -> str:
    """A warning where more than Stars and the balance is offered, which the operator may want all the same; else nothing."""
    wanted = [one.strip() for one in given.get("PAYMENT_METHODS", "").split(",") if one.strip()]
    offered = [name for name, token in _TOKENS.items() if given.get(token) and (not wanted or name in wanted)]
    if not offered:
        return ""
    return f"mind: beside Stars and the balance, customers may pay by {' and '.join(offered)} ({_TERMS})"


def _number(version: Json) -> str:
    return str(version.get("name", "")).rsplit("/", 1)[-1]


async def versions(deployment: Deployment) -> str:
    """Each secret that functions, or the job that migrates, are pinned to a version of has that version, and it is enabled."""
    if deployment.cloud is None:
        raise NotCheckedError("this machine has none")
    services = await deployment.of_cloud(lambda cloud: cloud.services(), "services")
    jobs = await deployment.of_cloud(lambda cloud: cloud.run_jobs(), "jobs of Cloud Run")
    templates = [one.get("template", {}) for one in services] + [one["template"].get("template", {}) for one in jobs]
    problems: list[str] = []
    for secret, pinned in sorted(_pinned(templates).items()):
        found = await deployment.of_cloud(
            lambda cloud, name=secret: cloud.secret_versions(name),  # type: ignore[misc] # a default binds the name
            f"versions of {secret}",
        )
        states = {_number(one): str(one.get("state")) for one in found}
        newest = max((number for number, state in states.items() if state == "ENABLED"), key=int, default=None)
        for number in sorted(pinned):
            wanted = newest if number == "latest" else number
            if wanted is None or states.get(wanted) != "ENABLED":
                state = states.get(wanted or "", "missing").lower()
                problems.append(f"{secret}: version {number}, which is read, is {state}")
    if not services:
        raise WrongError("no service is there, so none reads a secret")
    insist(problems)
    return ""


def _pinned(templates: list[Json]) -> dict[str, set[str]]:
    """Versions that containers of these templates read, by secret."""
    found: dict[str, set[str]] = {}
    for template in templates:
        for container in template.get("containers", []):
            for variable in container.get("env", []):
                reference = variable.get("valueSource", {}).get("secretKeyRef")
                if reference:
                    secret = str(reference.get("secret", "")).rsplit("/", 1)[-1]
                    found.setdefault(secret, set()).add(str(reference.get("version", "latest")))
    return found


CHECKS = (
    Check(
        name="settings",
        part="secrets",
        subject=_SUBJECT,
        asks="every setting is there and can be used",
        customers="the functions that need it answer 503: no answer, or no payment taken.",
        mend="Set what is named, and deploy.",
        page="runbooks/configuration-invalid.md",
        look=settings,
        timeout_s=30,
    ),
    Check(
        name="secret-versions",
        part="secrets",
        subject=_SUBJECT,
        asks="the version of each secret that functions and the migration read is enabled",
        customers="no new instance of a function starts: everything stops with the next deploy, or at the next cold start.",
        mend="Enable the version, or deploy with one that is.",
        page="runbooks/rotate-secrets.md",
        look=versions,
        timeout_s=30,
    ),
)
