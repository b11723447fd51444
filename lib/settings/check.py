"""Every problem of the configuration at once, by name, before anything starts: `python -m lib.settings.check`.

For everything that can afford pydantic-settings: `make run`, tasks and sweeps. A public function reads its few settings
plainly (`lib.settings.plain`) and answers 503 when they are not there. Both call the same readers (`lib.settings.values`), so
what is refused here is what the first use would refuse.
"""

from __future__ import annotations

import sys
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, ValidationError
from pydantic_settings import BaseSettings, InitSettingsSource, SettingsConfigDict

from lib.settings import plain, pricelist, values

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic_settings import PydanticBaseSettingsSource


def _by(reader: Callable[[str], Any]) -> AfterValidator:
    def refused_or_as_it_is(value: str) -> str:
        reader(value)
        return value

    return AfterValidator(refused_or_as_it_is)


DatabaseUrl = Annotated[str, _by(plain.database_url)]
HttpAddress = Annotated[str, _by(values.http_address)]
Seconds = Annotated[str, _by(values.seconds)]


class Settings(BaseSettings):
    """All settings of the functions (docs/configuration.md); an empty variable counts as unset."""

    model_config = SettingsConfigDict(extra="ignore", hide_input_in_errors=True)

    database_url: DatabaseUrl
    database_lock_url: DatabaseUrl | None = None
    db_connections: Annotated[str, _by(values.connections)] | None = None
    migrate_database_url: DatabaseUrl | None = None
    telegram_bot_token: Annotated[str, _by(values.bot_token)]
    telegram_webhook_secret: Annotated[str, _by(values.webhook_secrets)] | None = None
    telegram_bot_username: Annotated[str, _by(values.bot_name)] | None = None
    telegram_api_base: HttpAddress | None = None
    admin_ids: Annotated[str, _by(values.ids)] | None = None
    ask_data_consent: Annotated[str, _by(values.switch)] | None = None
    telegram_provider_token: Annotated[str, _by(plain.provider_token)] | None = None
    card_receipt: Annotated[str, _by(values.card_receipt)] | None = None
    cryptopay_token: Annotated[str, _by(values.cryptopay_tokens)] | None = None
    cryptopay_api_base: HttpAddress | None = None
    cryptopay_assets: Annotated[str, _by(values.assets)] | None = None
    payment_methods: Annotated[str, _by(plain.method_names)] | None = None
    tasks_endpoint: HttpAddress | None = None
    tasks_project: Annotated[str, _by(values.project)]
    tasks_location: Annotated[str, _by(values.location)]
    tasks_invoker: Annotated[str, _by(values.invoker)] | None = None
    function_url_template: Annotated[str, _by(values.function_address)]
    xray_api_url: Annotated[str, _by(values.node_address)] | None = None
    xray_api_pin: Annotated[str, _by(values.node_pins)] | None = None
    xray_api_key: Annotated[str, _by(values.api_key)] | None = None
    node_master_keys: Annotated[str, _by(values.master_keys)] | None = None
    ledger_export_url: Annotated[str, _by(values.store_folder)] | None = None
    ledger_export_endpoint: Annotated[str, _by(values.store_endpoint)] | None = None
    ledger_export_region: Annotated[str, _by(values.store_region)] | None = None
    ledger_export_key: Annotated[str, _by(values.store_key)] | None = None
    support_url: Annotated[str, _by(values.support_address)] | None = None
    display_tz: Annotated[str, _by(values.zone)] | None = None
    health_key: Annotated[str, _by(values.api_key)] | None = None
    environment: Annotated[str, _by(values.environment)] | None = None
    log_level: Annotated[str, _by(values.log_level)] | None = None
    sweep_hard_limit_seconds: Seconds | None = None
    sweep_lock_idle_seconds: Seconds | None = None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,  # noqa: ARG003 -- the signature is pydantic's
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 -- as above
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 -- as above
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 -- as above
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment as `plain` reads it: stripped, and an empty variable unset."""
        given = {name: value for name in cls.model_fields if (value := plain.text(name.upper()))}
        return (InitSettingsSource(settings_cls, init_kwargs=given),)


_PART_OF: dict[str, frozenset[str]] = {
    # what only some functions are given; elsewhere its absence is no problem
    "telegram_bot_token": frozenset({"telegram_webhook", "task_update", "task_notify"}),
}


def problems(target: str | None = None) -> list[str]:
    """Every problem, `NAME: what is wrong`, for one function or for all of them; never a value."""
    found: list[str] = []
    try:
        Settings()
    except ValidationError as error:
        for problem in error.errors(include_input=False, include_url=False):
            name = str(problem["loc"][0])
            wanted_by = _PART_OF.get(name)
            if (
                problem["type"] == "missing"
                and wanted_by is not None
                and target is not None
                and target not in wanted_by
            ):
                continue
            words = "is not set" if problem["type"] == "missing" else problem["msg"].removeprefix("Value error, ")
            found.append(f"{name.upper()}: {words}")
    found += _of_the_node() + _of_the_books(target)
    try:
        pricelist.load()
    except pricelist.InvalidPriceList as error:
        found += [
            line if line.startswith("TARIFFS_PATH") else f"TARIFFS_PATH: {line}" for line in str(error).split("\n")
        ]
    return found


def _of_the_node() -> list[str]:
    """What is wrong with its settings together, once each alone is right."""
    if not plain.text("XRAY_API_URL"):
        given = [name for name in ("XRAY_API_KEY", "XRAY_API_PIN") if plain.text(name)]
        return (
            [f"XRAY_API_URL: is not set, but {' and '.join(given)} {'is' if len(given) == 1 else 'are'}"]
            if given
            else []
        )
    try:
        url = plain.required("XRAY_API_URL", values.node_address)
        values.matching_pins(url, plain.read("XRAY_API_PIN", values.node_pins) or ())
    except plain.UnusableSetting:
        return []  # told by name already
    except ValueError as error:
        return [f"XRAY_API_PIN: {error}"]
    return []


def _of_the_books(target: str | None) -> list[str]:
    """What is missing for the copy of the books; the key is given to the function alone that makes it."""
    try:
        folder = plain.read("LEDGER_EXPORT_URL", values.store_folder)
    except plain.UnusableSetting:
        return []  # told by name already
    if folder and not plain.text("LEDGER_EXPORT_KEY") and target in {None, "export_ledger"}:
        return ["LEDGER_EXPORT_KEY: is not set, but LEDGER_EXPORT_URL is"]
    return []


@cache
def problems_once(target: str) -> tuple[str, ...]:
    """The problems of this process's function, looked for on its first request."""
    return tuple(problems(target))


def main() -> int:
    """Print every problem; exit code 1 when there is one."""
    found = problems()
    for problem in found:
        sys.stderr.write(f"{problem}\n")
    if not found:
        sys.stdout.write("configuration: all good\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
