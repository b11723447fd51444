"""One environment of Atlas as operators' commands see it: its settings, its secrets one by one, its database.

`local` is the system that `make run` has up on this machine. `dev` and `prod` are what Terraform was given in
`infra/terraform/environments/<name>` (the variables files there), Secret Manager and Cloud SQL, or a Postgres of one's own.

A secret's value is had by its name, one at a time, and is in no `repr`, no `settings` and no error's text.
"""

from __future__ import annotations

import http.client
import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

import pg8000.exceptions
import pg8000.native

from infra import tfvars
from infra.deploy import releases
from infra.deploy.google_cloud import GoogleCloud
from infra.deploy.problems import Refused
from infra.google import login, projects, secrets
from infra.google.client import Google, GoogleError
from infra.google.database import Instance, Way, open_socket
from lib import function_table
from lib.db.address import BadAddress, DatabaseAddress
from lib.settings import pricelist, values

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lib.domain.pricelist import PriceList

Role = Literal["readonly", "owner"]

NAMES: Final = ("local", "dev", "prod")
DEPLOYED: Final = ("dev", "prod")
TERRAFORM: Final = Path(__file__).resolve().parent / "terraform" / "environments"
_ROOT: Final = Path(__file__).resolve().parents[1]
LOCAL_HOME: Final = _ROOT / ".local"
OWNER_SECRET: Final = "MIGRATE_DATABASE_URL"  # noqa: S105 - the setting's name
FUNCTIONS_SECRET: Final = "DATABASE_URL"  # noqa: S105 - as above
_BOT_TOKEN: Final = "TELEGRAM_BOT_TOKEN"  # noqa: S105 - as above
DATABASE: Final = "atlas"
READER: Final = "atlas_readonly"
APPLICATION: Final = "atlas-operator"
_SOCKET: Final = "/cloudsql/"
_CONNECT_S: Final = 15
_REFUSALS: Final = frozenset({http.client.UNAUTHORIZED, http.client.FORBIDDEN, http.client.NOT_FOUND})


class NoEnvironment(Exception):
    """The environment can't be used; the text lists every reason, one a line, and what to do."""


class UnreadableProject(NoEnvironment):
    """Google refuses this login the project itself, or there is none of that name; the text says which, and what to do."""


class NoSecret(NoEnvironment):
    """A secret has no value that can be read; the text says why, and which one."""


class NoDatabase(NoEnvironment):
    """The database can't be had; the text says why, without the address's password."""


@dataclass(frozen=True)
class Login:
    """How a session is opened.

    Attributes:
        password: None: none is asked for, the account of this machine's login is who comes in.
        parameters: of the session, as `search_path`.
        instance: the Cloud SQL instance, reached through Google; None: `address` says where Postgres is.
        ways: to the instance, found for an earlier session of this command (`infra.google.database.open_socket`).
    """

    user: str
    database: str
    password: str | None = field(repr=False)
    parameters: Mapping[str, str]
    instance: Instance | None = None
    address: DatabaseAddress | None = None
    ways: dict[bool, Way] = field(default_factory=dict, repr=False, compare=False)

    def open(self) -> pg8000.native.Connection:
        """A session, to be closed by the caller.

        Raises:
            NoDatabase
            infra.google.client.NotLoggedIn
        """
        given: dict[str, Any] = {"application_name": APPLICATION, "startup_params": dict(self.parameters)}
        if self.address is not None:
            given |= self.address.driver_arguments() | {"timeout": _CONNECT_S}
        elif self.instance is not None:
            try:
                tunnel = open_socket(self.instance, iam=self.password is None, known=self.ways)
            except GoogleError as error:
                raise NoDatabase(str(error)) from None
            given |= {"user": self.user, "password": self.password, "database": self.database, "sock": tunnel}
        with _said("; who may read is database_readers in the variables" if self.password is None else ""):
            connection = pg8000.native.Connection(**given)
        connection._usock.settimeout(None)  # noqa: SLF001 - for the connecting alone; a statement takes what it takes
        return connection


class Environment(Protocol):
    """What a command asks of an environment."""

    @property
    def name(self) -> str:
        """`local`, `dev` or `prod`."""

    @property
    def project(self) -> str:
        """Google's id of the project; local: what its functions call it."""

    @property
    def region(self) -> str:
        """Google's region; local: as above."""

    @property
    def settings(self) -> Mapping[str, str]:
        """Settings that are no secrets (docs/configuration.md), as functions have them.

        Raises:
            NoEnvironment
        """

    def has_secret(self, name: str) -> bool:
        """Whether functions are given this one."""

    def secret(self, name: str) -> str:
        """The value of a secret setting, such as `HEALTH_KEY`. In the cloud the read leaves a line in the audit log.

        Raises:
            NoSecret: it is not set, or can't be read.
        """

    def login(self, role: Role) -> Login:
        """How `connect` comes in.

        Args:
            role: "readonly": what `atlas_readonly` may see, in transactions that change nothing. "owner": everything.

        Raises:
            NoDatabase
            infra.google.client.NotLoggedIn
        """

    def connect(self, role: Role) -> pg8000.native.Connection:
        """A session with `search_path` set to the schema, to be closed by the caller; `role` as above.

        Raises:
            NoDatabase
            infra.google.client.NotLoggedIn
        """


_SECRET_EVERYWHERE: Final = frozenset({OWNER_SECRET, "TOKEN_KEYS", "PSEUDONYM_KEY"})


def secret_names() -> frozenset[str]:
    """Every setting that is a secret: what the table gives to functions, and what no row of it has or has yet."""
    return _SECRET_EVERYWHERE.union(*(one.secrets for one in function_table.load().functions.values()))


def load(name: str, *, folder: Path | None = None, among: tuple[str, ...] = NAMES) -> Environment:
    """The environment of that name.

    Args:
        name: `local`, `dev` or `prod`.
        among: those that the command is for; the others are refused, and not named.
        folder: of its variables' files, or, for local, of the system's state; the usual one unless said.

    Raises:
        NoEnvironment: no such name; local: it is not up; else: the variables can't be read, or lack project or region.
    """
    if name not in among:
        raise NoEnvironment(f"ENV={name or '(nothing)'}: it is one of {', '.join(among)}")
    if name == "local":
        return _local(folder or LOCAL_HOME)
    return _deployed(name, folder or TERRAFORM / name)


# -- on this machine -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Local:
    """The system that `make run` has up."""

    name: str
    project: str
    region: str
    home: Path
    url: str
    scheduler: str
    _settings: Mapping[str, str] = field(repr=False)
    _owner_url: str = field(repr=False)

    @property
    def settings(self) -> Mapping[str, str]:
        """As its functions were started with, without the secrets."""
        hidden = secret_names()
        return {name: value for name, value in self._settings.items() if name not in hidden}

    def has_secret(self, name: str) -> bool:
        """Whether functions have it."""
        return bool(self._known().get(name))

    def secret(self, name: str) -> str:
        """As functions have it.

        Raises:
            NoSecret
        """
        value = self._known().get(name) if name in secret_names() else None
        if not value and name == _BOT_TOKEN:  # of a real bot, which the local system writes down nowhere
            value = os.environ.get(name, "").strip()
            if not value:
                raise NoSecret(f"{name}: a real bot's is not kept by the local system; give it in the environment")
        if not value:
            raise NoSecret(f"{name}: the local system has no such secret")
        return value

    def login(self, role: Role) -> Login:
        """As the owner; for reading, with the rights of `atlas_readonly`.

        Raises:
            NoDatabase
        """
        return _by_address(self._owner_url, role)

    def connect(self, role: Role) -> pg8000.native.Connection:
        """As `login` says.

        Raises:
            NoDatabase
        """
        return self.login(role).open()

    def _known(self) -> dict[str, str]:
        return {**self._settings, OWNER_SECRET: self._owner_url}


def _local(folder: Path) -> Local:
    # The one place where what is deployed from here looks at the sandbox, and only when it is asked to.
    from sandbox.state.home import Home, all_homes  # noqa: PLC0415 - see above

    up = [(home, home.running()) for home in map(Home, all_homes(folder)) if home.is_taken()]
    up = [(home, facts) for home, facts in up if "settings" in facts]
    if not up:
        raise NoEnvironment("ENV=local: the system is not up; `make run` starts it")
    if len(up) > 1:
        raise NoEnvironment(f"ENV=local: several systems are up: {', '.join(str(home.path) for home, _ in up)}")
    home, facts = up[0]
    settings: dict[str, str] = facts["settings"]
    return Local(
        name="local",
        project=settings["TASKS_PROJECT"],
        region=settings["TASKS_LOCATION"],
        home=home.path,
        url=facts["url"],
        scheduler=facts.get("scheduler", ""),
        _settings=settings,
        _owner_url=facts["database"],
    )


# -- in the cloud ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Deployed:
    """An environment that Terraform made.

    Attributes:
        folder: where its variables are.
        variables: what Terraform was given there.
        google: asks about its project.
    """

    name: str
    project: str
    region: str
    folder: Path
    variables: Mapping[str, Any] = field(repr=False)
    google: Google = field(repr=False)
    _ways: dict[bool, Way] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def settings(self) -> Mapping[str, str]:
        """As modules/platform/functions.tf makes them.

        Raises:
            UnreadableProject: it is refused.
            NoEnvironment: the project's number, which is in each address, can't be had.
        """
        try:
            number = projects.get(self.google).number
        except GoogleError as error:
            if error.status in _REFUSALS and not error.api_disabled:
                raise UnreadableProject(
                    f"ENV={self.name}: project {self.project} can't be read as this login ({error.status} {error.reason}):"
                    " log in as an account that may view it, or mend project_id"
                ) from None
            raise NoEnvironment(f"ENV={self.name}: {error}") from None
        template = f"https://{{name}}-{number}.{self.region}.run.app"
        given: dict[str, str] = {key: str(value) for key, value in (self.variables.get("settings") or {}).items()}
        return {
            "LOG_LEVEL": "INFO",
            "TELEGRAM_WEBHOOK_URL": template.replace("{name}", "telegram-webhook"),
            "CRYPTOPAY_WEBHOOK_URL": template.replace("{name}", "cryptobot-webhook"),
            **given,
            "ENVIRONMENT": self.name,
            **({"PUBLIC_BASE_URL": f"https://{domain}"} if (domain := self.variables.get("domain")) else {}),
            "FUNCTION_URL_TEMPLATE": template,
            "TASKS_PROJECT": self.project,
            "TASKS_LOCATION": self.region,
            "TASKS_INVOKER": f"tasks-{{queue}}@{self.project}.iam.gserviceaccount.com",
        }

    @property
    def secret_versions(self) -> Mapping[str, str]:
        """Setting = number of the version that functions have."""
        return {key: str(value) for key, value in (self.variables.get("secret_versions") or {}).items()}

    @property
    def no_record(self) -> str:
        """Why no secret's version is known here, in a sentence; "" when some are. Git ignores the file that says them."""
        if self.secret_versions:
            return ""
        return f"this checkout has no record of secret versions: run make deploy ENV={self.name} here first"

    def secret_id(self, name: str) -> str:
        """What Secret Manager calls a setting."""
        if name == FUNCTIONS_SECRET and self.has_own_database:
            return str(self._database["url_secret"])
        return name.lower().replace("_", "-")

    def has_secret(self, name: str) -> bool:
        """Whether functions are given a version of it."""
        return name in self.secret_versions

    def secret(self, name: str) -> str:
        """The version in force.

        Raises:
            NoSecret
            infra.google.client.NotLoggedIn
        """
        number = self.secret_versions.get(name)
        if number is None:
            if self.no_record:
                raise NoSecret(self.no_record)
            raise NoSecret(f"{name}: secret_versions in {self.folder} names no version of it")
        try:
            return secrets.access(self.google, self.secret_id(name), number).strip()
        except (GoogleError, secrets.DamagedValue) as error:
            raise NoSecret(f"{name}: {error}") from None

    @property
    def has_own_database(self) -> bool:
        """Whether the database is a Postgres of one's own, not Cloud SQL."""
        return bool(self._database.get("url_secret"))

    @property
    def _database(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.variables.get("database") or {}
        return found

    @cached_property
    def instance(self) -> Instance:
        """The Cloud SQL instance.

        Raises:
            NoDatabase: the database is a Postgres of one's own.
        """
        if self.has_own_database:
            raise NoDatabase(f"ENV={self.name}: the database is a Postgres of its own, not Cloud SQL")
        return Instance(self.project, self.region, self._in_force[0])

    @property
    def instance_remark(self) -> str:
        """Where the instance is another one than this checkout names, or that can't be told: a sentence with what to do; else "".

        Raises:
            infra.google.client.NotLoggedIn
        """
        return "" if self.has_own_database else self._in_force[1]

    @cached_property
    def _in_force(self) -> tuple[str, str]:
        """The instance's name, and the remark. The record of releases says which instance each restore put in force.

        A checkout that was not pulled since names one of those before the last, or none. A name that the record does not have is of a
        restore here that is still to be deployed.
        """
        here = str(self._database.get("name") or self.variables.get("database_name") or DATABASE)
        cloud, bucket = GoogleCloud(self.google, self.region), releases.bucket(self.project)
        try:
            restored = [one.database for one in releases.read(cloud, bucket, self.name) if one.database]
        except (GoogleError, Refused) as error:
            words = str(error).splitlines()[0].removeprefix("- ")
            return here, (
                f"whether a restore has put another instance in force than {here} can't be told: {words}"
                f" (make deploy ENV={self.name} puts it back where it is missing)"
            )
        if not restored or here == restored[-1]:
            return here, ""
        if here in restored or not self.variables.get("database_name"):
            return restored[-1], (
                f"{restored[-1]} is the database since it was restored, and this checkout names {here}:"
                f" git pull, or make deploy ENV={self.name}, puts that right"
            )
        return here, ""

    def login(self, role: Role) -> Login:
        """Read: as the account that is logged in here, by IAM. Owner: by the owner's password, whose reading is audited.

        Raises:
            NoDatabase
            infra.google.client.NotLoggedIn
        """
        if self.has_own_database:
            return _by_address(self.owner_url(), role)
        if role == "owner":
            address = parsed(self.owner_url())
            session = _session(role)
            return Login(
                address.user, address.database, address.password, session, instance=self.instance, ways=self._ways
            )
        try:
            user = login.database_user(login.email(self.google))
        except GoogleError as error:
            raise NoDatabase(f"ENV={self.name}: {error}") from None
        return Login(user, DATABASE, None, _session(role), instance=self.instance, ways=self._ways)

    def connect(self, role: Role) -> pg8000.native.Connection:
        """As `login` says.

        Raises:
            NoDatabase
            infra.google.client.NotLoggedIn
        """
        return self.login(role).open()

    def owner_url(self) -> str:
        """Where the owner logs in: the migrations' own secret.

        Raises:
            NoDatabase
        """
        try:
            return self.secret(OWNER_SECRET)
        except NoSecret as error:
            raise NoDatabase(f"ENV={self.name}: {error}") from None


def _deployed(name: str, folder: Path) -> Deployed:
    try:
        variables = tfvars.read(folder)
    except tfvars.UnreadableVariables as error:
        raise NoEnvironment(f"ENV={name}: {error}") from None
    if not tfvars.files(folder):
        raise NoEnvironment(
            f"ENV={name}: {folder} has no terraform.tfvars; copy terraform.tfvars.example and fill it in"
        )
    missing = [
        f"ENV={name}: {folder / 'terraform.tfvars'} names no {wanted}"
        for wanted in ("project_id", "region")
        if not variables.get(wanted) or not isinstance(variables[wanted], str)
    ]
    if missing:
        raise NoEnvironment("\n".join(missing))
    project = variables["project_id"]
    return Deployed(
        name=name,
        project=project,
        region=variables["region"],
        folder=folder,
        variables=variables,
        google=Google(project),
    )


def prices(found: Environment) -> PriceList:
    """The price list that the environment's functions have, whatever `TARIFFS_PATH` says in the shell of the one who asks.

    A path that is not absolute begins at the root of what is deployed, which is this checkout's.

    Raises:
        NoEnvironment
        lib.settings.pricelist.InvalidPriceList
    """
    path = found.settings.get("TARIFFS_PATH", "").strip()
    return pricelist.read(_ROOT / path) if path else pricelist.read()


def owners(found: Environment) -> frozenset[int]:
    """Telegram ids of those who may do everything (`ADMIN_IDS` of the environment).

    Raises:
        NoEnvironment: the setting can't be read.
    """
    given = found.settings.get("ADMIN_IDS", "")
    try:
        return frozenset(values.ids(given)) if given else frozenset()
    except ValueError as error:
        raise NoEnvironment(f"ADMIN_IDS of {found.name}: {error}") from None


# -- a session -------------------------------------------------------------------------------------------------------------


def _by_address(url: str, role: Role) -> Login:
    """By a URL whose user owns the schema; to read, it takes on the reader's rights."""
    address = parsed(url)
    if address.socket is not None and address.socket.startswith(_SOCKET):
        raise NoDatabase(f"{OWNER_SECRET}: its socket {address.socket} is on the platform, not on this machine")
    session = _session(role)
    if role == "readonly":
        session["role"] = READER
    return Login(address.user, address.database, address.password, session, address=address)


def _session(role: Role) -> dict[str, str]:
    known = {"search_path": DATABASE, "TimeZone": "UTC"}
    return known | ({"default_transaction_read_only": "on"} if role == "readonly" else {})


def parsed(url: str) -> DatabaseAddress:
    """A database URL, taken apart.

    Raises:
        NoDatabase: it is none; the text quotes nothing of it.
    """
    try:
        return DatabaseAddress.parse(url)
    except BadAddress as error:
        raise NoDatabase(f"{OWNER_SECRET}: {error}") from None


@contextmanager
def _said(hint: str) -> Iterator[None]:
    """What the driver says, in words: its own texts may quote values. `hint` goes with a login that is refused."""
    try:
        yield
    except pg8000.exceptions.DatabaseError as error:
        details = error.args[0] if error.args and isinstance(error.args[0], dict) else {}
        raise NoDatabase(f"the database refuses this login: SQLSTATE {details.get('C', 'unknown')}{hint}") from None
    except (OSError, pg8000.exceptions.InterfaceError) as error:
        raise NoDatabase(f"the database does not answer ({type(error).__name__})") from None
