"""Every secret has a value: made here, asked for without echo, or taken from the environment; kept in Secret Manager, shown nowhere.

A value is stored first and its number written down after: a command that is stopped in between finds the newest version and takes it.
So a database password is in Secret Manager before the user that has it is made.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote, urlsplit

from infra.deploy import variable_files
from infra.deploy.engine import Change
from infra.deploy.problems import Problem, Refused
from infra.deploy.telegram import TelegramRefused
from lib import failpoints
from lib.settings import plain, values

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from infra.deploy.cloud import SecretVersion
    from infra.deploy.world import World

NAME = "secret_values"
TITLE = "The secrets' values"

_BYTES: Final = 32
# Ours alone: no person ever needs to know one.
MADE: Final[Mapping[str, Callable[[], str]]] = {
    "HEALTH_KEY": lambda: secrets.token_hex(_BYTES),
    "NODE_MASTER_KEYS": lambda: secrets.token_urlsafe(48),
    "PSEUDONYM_KEY": lambda: secrets.token_urlsafe(48),
    "TELEGRAM_WEBHOOK_SECRET": lambda: secrets.token_hex(_BYTES),
    "TOKEN_KEYS": lambda: secrets.token_urlsafe(48),
}
# The method is not offered, the books are not copied, or every node is a row of its own, without them (modules/platform/locals.tf; a test compares).
OPTIONAL: Final = frozenset(
    {"CRYPTOPAY_TOKEN", "LEDGER_EXPORT_KEY", "NODE_MASTER_KEYS", "TELEGRAM_PROVIDER_TOKEN", "XRAY_API_KEY"}
)
READERS: Final[Mapping[str, Callable[[str], object]]] = {
    "CRYPTOPAY_TOKEN": values.cryptopay_tokens,
    "DATABASE_LOCK_URL": plain.database_url,
    "DATABASE_URL": plain.database_url,
    "HEALTH_KEY": values.api_key,
    "LEDGER_EXPORT_KEY": values.store_key,
    "MIGRATE_DATABASE_URL": plain.database_url,
    "NODE_MASTER_KEYS": values.master_keys,
    "TELEGRAM_BOT_TOKEN": values.bot_token,
    "TELEGRAM_PROVIDER_TOKEN": values.provider_token,
    "TELEGRAM_WEBHOOK_SECRET": values.webhook_secrets,
    "XRAY_API_KEY": values.api_key,
}


def look(world: World) -> Change | None:
    """Which secrets have a value, which are made, which must be asked for.

    Raises:
        Refused: values are needed that nothing gives; or a version that is in force is disabled.
    """
    outputs = world.terraform.outputs()
    ids: dict[str, str] = outputs["secrets"]
    urls: dict[str, str] = outputs.get("database_urls") or {}
    in_force = world.secret_versions()
    there = {setting: world.cloud.secret_versions(secret_id) for setting, secret_id in ids.items()}
    if disabled := _disabled(world, ids, in_force, there):
        raise Refused(*disabled)
    taken = {
        setting: number
        for setting, versions in there.items()
        if setting not in in_force and (number := _newest(versions)) is not None
    }
    missing = [setting for setting in sorted(ids) if setting not in in_force and setting not in taken]
    new = _values(world, missing, urls)
    known = {setting: number for setting, number in in_force.items() if setting in ids}
    if not new and not taken and variable_files.secret_versions(world.folder) == known:
        return None
    told = [f"{setting}: version {number}, which is there, is taken" for setting, number in sorted(taken.items())]
    given = {setting for setting in new if world.talk.environment.get(setting, "").strip() == new[setting]}
    told += [
        f"{setting}: {'made' if setting not in given and (setting in MADE or setting in urls) else 'the given value'}, as a new version"
        for setting in new
    ]
    told += [f"{setting}: none, which may be" for setting in missing if setting not in new]
    told += [f"{setting}: no function reads it any more" for setting in sorted(in_force.keys() - ids.keys())]

    def store() -> None:
        numbers = known | taken
        for setting, value in new.items():
            numbers[setting] = world.cloud.add_secret_version(ids[setting], value)
            world.made_secrets[setting] = value
            failpoints.reach(f"deploy.{NAME}.stored")
        variable_files.write_secret_versions(world.folder, numbers)

    return Change(told or ["writes down which versions are in force"], store, asks=bool(new))


def password(url: str) -> str:
    """The password in a database URL."""
    return unquote(urlsplit(url).password or "")


def _newest(versions: list[SecretVersion]) -> str | None:
    return next((version.number for version in versions if version.enabled), None)


def _disabled(
    world: World, ids: Mapping[str, str], in_force: Mapping[str, str], there: Mapping[str, list[SecretVersion]]
) -> list[Problem]:
    found = []
    for setting, number in sorted(in_force.items()):
        if setting in ids and number not in {version.number for version in there[setting] if version.enabled}:
            found.append(
                Problem(
                    f"{setting}: version {number} is in force, and Secret Manager has none such that is enabled",
                    f"gcloud secrets versions enable {number} --secret={ids[setting]} --project={world.project},"
                    f" or take {setting} out of {variable_files.SECRETS}: then the newest is taken",
                )
            )
    return found


def _values(world: World, missing: list[str], urls: Mapping[str, str]) -> dict[str, str]:
    """Setting = its new value.

    Raises:
        Refused: with every one that is needed and not given, and every one that can't be what it is for.
    """
    found: dict[str, str] = {}
    problems: list[Problem] = []
    for setting in missing:
        if setting in urls:
            found[setting] = urls[setting].replace("{password}", quote(secrets.token_urlsafe(_BYTES), safe=""))
        elif setting in MADE:
            found[setting] = world.talk.environment.get(setting, "").strip() or MADE[setting]()
        else:
            given = world.talk.secret(setting)
            if given:
                found[setting] = given
            elif setting not in OPTIONAL:
                problems.append(
                    Problem(
                        f"{setting} has no value yet",
                        f"read -rs {setting} && export {setting}, then make deploy ENV={world.environment}; or run it at a terminal, where it is asked for",
                    )
                )
    for setting, value in found.items():
        if (words := _unfit(world, setting, value)) is not None:
            problems.append(Problem(f"{setting}: {words}", f"export {setting} anew, or unset it"))
    if problems:
        raise Refused(*problems)
    return found


def _unfit(world: World, setting: str, value: str) -> str | None:
    try:
        READERS.get(setting, values.api_key)(value)
    except ValueError as error:
        return str(error)
    if setting == "TELEGRAM_PROVIDER_TOKEN" and values.is_of_a_test(value) and world.environment == "prod":
        return "is a test token, which takes no money: prod needs a live one"
    if setting == "TELEGRAM_BOT_TOKEN":
        return _unknown_bot(world, value)
    return None


def _unknown_bot(world: World, token: str) -> str | None:
    """Whether Telegram knows the bot, and by the name that the settings say."""
    try:
        name = world.bot_api(world.settings.get("TELEGRAM_API_BASE") or plain.TELEGRAM_API, token).call("getMe")[
            "username"
        ]
    except TelegramRefused as error:
        return str(error)
    wanted = world.settings.get("TELEGRAM_BOT_USERNAME", "")
    if wanted and str(name).lower() != wanted.lower():
        return f"is the token of @{name}, and TELEGRAM_BOT_USERNAME says @{wanted}"
    return None
