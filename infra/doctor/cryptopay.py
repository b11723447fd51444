"""Crypto Pay: whether it takes our tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.doctor.check import Check, NotCheckedError, insist
from lib.settings import plain

if TYPE_CHECKING:
    from infra.doctor.deployment import Deployment

_OK = 200


async def token(deployment: Deployment) -> str:
    """The first token makes invoices, each of them signs webhooks: Crypto Pay must take them all."""
    tokens = await deployment.members("CRYPTOPAY_TOKEN")
    if not tokens:
        raise NotCheckedError("CRYPTOPAY_TOKEN is not set: the method is not offered")
    base = await deployment.setting("CRYPTOPAY_API_BASE") or plain.CRYPTOPAY_API
    problems, names = [], []
    for number, one in enumerate(tokens, 1):
        response = await deployment.http.get(f"{base}/api/getMe", headers={"Crypto-Pay-API-Token": one})
        answer = response.json()
        if response.status_code != _OK or answer.get("ok") is not True:
            which = "the current token" if number == 1 else f"token {number} of the list, which may go"
            problems.append(
                f"Crypto Pay refuses {which}: {response.status_code} {answer.get('error', {}).get('name', '')}"
            )
        else:
            names.append(str(answer["result"].get("name", "")))
    insist(problems)
    return ", ".join(names)


CHECKS = (
    Check(
        name="cryptopay-token",
        part="secrets",
        subject="Crypto Pay",
        asks="Crypto Pay takes every token",
        customers="no invoice can be made or followed up; the method fails for each of them.",
        mend="Make a token in @CryptoBot, store it as CRYPTOPAY_TOKEN and deploy.",
        page="runbooks/rotate-secrets.md",
        look=token,
    ),
)
