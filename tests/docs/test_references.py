"""The pages under docs/ say what is there: references, settings, targets, events, tables, statements, commands."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from infra import access, give_access
from infra.doctor.registry import BY_NAME
from lib import function_table
from lib.db.connection import Connection, Timeouts
from lib.db.errors import DatabaseError
from lib.db.invariants import queries
from lib.db.migrate import migrate
from lib.domain import retention
from lib.domain.access_desk import Change
from lib.settings.check import Settings
from sandbox.postgres.server import Postgres
from xray_api.settings import Settings as NodeSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "infra").rglob("*.md")])
RUNBOOKS = sorted(path for path in (DOCS / "runbooks").glob("*.md") if path.name != "README.md")
CODE = sorted(
    path
    for folder in ("bench", "functions", "lib", "sandbox", "simulation", "tests", "xray_api")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in {".py", ".sql", ".toml", ".json", ".js", ".html", ".txt"} and path != Path(__file__).resolve()
) + [
    ROOT / name
    for name in (
        "main.py",
        "Makefile",
        "pyproject.toml",
        "requirements.txt",
        "requirements-dev.txt",
        "requirements-test.txt",
    )
]


def _named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _headings(page: Path) -> list[str]:
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return [match.strip() for match in re.findall(r"^#+ (.+)$", text, re.MULTILINE)]


def _anchors(page: Path) -> set[str]:
    """As GitHub makes them."""
    plain = (re.sub(r"[`*\[\]]", "", heading).lower() for heading in _headings(page))
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}


def _section(page: Path, heading: str) -> str:
    """The text of a heading of the second level, up to the next one."""
    found = re.search(rf"^## {re.escape(heading)}$(.*?)(?=^## |\Z)", page.read_text(), re.MULTILINE | re.DOTALL)
    assert found, f"{_named(page)} has no section {heading}"
    return found[1]


def _first_column(text: str) -> set[str]:
    """Every name in code marks in the first column of a text's tables."""
    cells = re.findall(r"^\| ([^|]*) \|", text, re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


# References -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=_named)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), f"{target}: no such file"
        if anchor:
            assert anchor in _anchors(path), f"{target}: no such heading"


def test_every_reference_in_code_resolves() -> None:
    wrong = []
    for path in CODE:
        text = path.read_text(errors="replace")
        for name, anchor in re.findall(r"\b(?:docs/)?([a-z]+\.md)#([\w-]+)", text):
            if not (DOCS / name).exists() or anchor not in _anchors(DOCS / name):
                wrong.append(f"{_named(path)}: {name}#{anchor}")
        for name, places in re.findall(r"\bdocs/([a-z/-]+\.md)(?:, ([^;).:`]+))?", text):
            page = DOCS / name
            known = [heading.lower() for heading in _headings(page)] if page.exists() else []
            wanted = places.strip().lower().split(" and ") if places else []
            if not page.exists() or any(not any(one.startswith(place) for one in known) for place in wanted):
                wrong.append(f"{_named(path)}: docs/{name}, {places}")
        numbers = re.findall(r"\bdocs/decisions/(\d{4})", text)
        wrong += [f"{_named(path)}: decision {n}" for n in numbers if not list((DOCS / "decisions").glob(f"{n}-*.md"))]
        named = r"\b(acceptance|apis|architecture|configuration|data|interface|performance|platform|product|xray)\.md\b"
        wrong += [
            f"{_named(path)}: {name}.md" for name in re.findall(named, text) if not (DOCS / f"{name}.md").exists()
        ]
    assert wrong == []


@pytest.mark.parametrize("page", PAGES, ids=_named)
def test_a_page_that_speaks_of_the_shell_s_project_says_where_it_is_set(page: Path) -> None:
    """Who is woken up opens one page, not the folder's first."""
    text = page.read_text()
    used = set(re.findall(r"\$\{?(PROJECT|REGION|ENV)\b", text))
    if page == DOCS / "runbooks" / "README.md":
        assert re.search(r"^export PROJECT=\S+ REGION=\S+$", _section(page, "Before any page"), re.MULTILINE)
        assert re.search(r"^export ENV=prod$", _section(page, "Before any page"), re.MULTILINE)
    elif used:
        before, _, _ = text.partition("\n## ")
        assert "README.md#before-any-page)" in before, f"{_named(page)} uses {sorted(used)}"


def test_every_variable_that_a_page_s_commands_use_is_set_there_or_before_any_page() -> None:
    """A shell takes an unset one for nothing, and the command asks for something else, or with no key."""
    before = _set_in(_section(DOCS / "runbooks" / "README.md", "Before any page")) | {"HOME", "PATH"}
    wrong = []
    for page in [*RUNBOOKS, DOCS / "runbooks" / "README.md", DOCS / "doctor.md", ROOT / "README.md"]:
        text = page.read_text()
        used = set(re.findall(r"\$\{?([A-Z_]{2,})\b", "\n".join(_commands(text))))
        wrong += [f"{_named(page)}: ${name}" for name in sorted(used - before - _set_in(text))]
    assert wrong == []


def _commands(text: str) -> list[str]:
    """What a page has for a shell: its blocks, and the spans that are more than a name."""
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    return blocks + [span for span in re.findall(r"`([^`\n]+)`", text) if " " in span]


def _set_in(text: str) -> set[str]:
    return {name for command in _commands(text) for name in re.findall(r"\b(?:export |^)?([A-Z_]{2,})=", command)}


def test_no_page_has_an_operator_apply_terraform_past_the_deploy() -> None:
    """`make deploy` migrates, waits and proves; a bare apply does none of it. The one way to delete what is kept is by hand."""
    bare = [_named(page) for page in PAGES if re.search(r"`terraform (?:-chdir=\S+ )?apply`", page.read_text())]
    assert set(bare) <= {"infra/terraform/README.md"} | {_named(page) for page in PAGES if "decisions" in page.parts}


def test_a_node_s_keys_are_one_line_that_keeps_the_key_before(tmp_path: Path) -> None:
    """The commands of node.md as they stand there, on a file of this machine; a second line of the name would hide the first."""
    file, programs = tmp_path / "node.env", tmp_path / "programs"
    programs.mkdir()
    (programs / "systemctl").write_text("#!/bin/sh\n")
    (programs / "systemctl").chmod(0o755)
    page = (DOCS / "node.md").read_text()
    add = re.search(r"make node-key ENV=prod NAME=de1 \| ssh root@<HOST> '([^']*)'", page)
    drop = re.search(r"`(sed -i '[^`]*)`", page)
    assert add
    assert drop
    environment = os.environ | {"PATH": f"{programs}:{os.environ['PATH']}"}

    def on_the_node(command: str, key: str = "") -> list[str]:
        text = command.replace("/etc/atlas-node.env", str(file))
        subprocess.run(["/bin/sh", "-c", text], input=key, text=True, env=environment, check=False)
        return sorted(file.read_text().split()) if file.exists() else []

    assert on_the_node(add[1], "first-key\n") == ["XRAY_API_KEYS=first-key"]
    file.write_text(f"XRAY_API_BIND=0.0.0.0:8443\n{file.read_text()}XRAY_PUBLIC_HOST=a.example.org\n")
    others = ["XRAY_API_BIND=0.0.0.0:8443", "XRAY_PUBLIC_HOST=a.example.org"]
    for key, keys in (("first-key\n", "first-key"), ("second\n", "second,first-key"), ("second\n", "second,first-key")):
        assert on_the_node(add[1], key) == sorted([*others, f"XRAY_API_KEYS={keys}"])
    assert on_the_node(add[1]) == sorted([*others, "XRAY_API_KEYS=second,first-key"])  # the key could not be had
    if sys.platform == "linux":  # as nodes are; another system's sed takes other arguments
        assert on_the_node(drop[1]) == sorted([*others, "XRAY_API_KEYS=second"])


def test_what_restore_says_to_commit_git_takes_and_what_machines_write_back_it_does_not() -> None:
    folder = "infra/terraform/environments/prod"
    names = ["database.auto.tfvars.json", "secrets.auto.tfvars.json", "release.auto.tfvars.json", "terraform.tfvars"]
    names += ["restore.begun.json", "restore.pending.json"]
    asked = ["git", "-C", str(ROOT), "check-ignore", "--no-index", *(f"{folder}/{name}" for name in names)]
    ignored = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.split()
    assert [Path(one).name for one in ignored] == names[1:]


def test_paths_of_the_tree_that_pages_name_exist() -> None:
    tree = r"`((?:bench|docs|functions|infra|lib|sandbox|tests|xray_api)/[\w./-]*)`"
    made_later = {"bench/results/"}
    wrong = [
        f"{_named(page)}: {path}"
        for page in PAGES
        for path in re.findall(tree, page.read_text())
        if not (ROOT / path).exists() and path not in made_later
    ]
    assert wrong == []


# Commands -------------------------------------------------------------------------------------------------------------


def _make_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=_named)
def test_every_make_target_that_a_page_names_exists(page: Path) -> None:
    spans = re.findall(r"`([^`\n]+)`", page.read_text()) + re.findall(r"^ *(make .*)$", page.read_text(), re.MULTILINE)
    named = {target for span in spans for target in re.findall(r"^(?:[A-Z_]+=\S+ )*make ([a-z-]+)", span.strip())}
    assert named - _make_targets() == set()


def test_every_make_target_is_in_the_interface() -> None:
    commands = _section(DOCS / "interface.md", "Commands")
    missing = {target for target in _make_targets() if not re.search(rf"`make {target}[ `]|`make help`", commands)}
    assert missing - {"help"} == set()
    assert _make_targets() <= set(re.findall(r"make ([a-z-]+)", commands))


# Settings -------------------------------------------------------------------------------------------------------------

_READ = re.compile(r"(?:\b(?:text|required|listed)\(|environ(?:\.get)?[\[(])\"([A-Z][A-Z_]+)\"")
_FRAMEWORK = {"FUNCTION_TARGET"}
CONFIGURATION = DOCS / "configuration.md"


def _settings_of_functions() -> set[str]:
    sources = [path for path in CODE if path.suffix == ".py" and _named(path).startswith(("lib/", "functions/"))]
    read = {name for path in sources for name in _READ.findall(path.read_text())}
    return (read | {name.upper() for name in Settings.model_fields}) - _FRAMEWORK


def test_every_setting_of_the_functions_is_documented_and_the_other_way_round() -> None:
    documented = _first_column(_section(CONFIGURATION, "Functions"))
    documented |= _first_column(_section(CONFIGURATION, "Limits and test switches"))
    assert documented == _settings_of_functions()


def test_every_setting_of_the_node_is_documented_and_the_other_way_round() -> None:
    known = {name.upper() for name in NodeSettings.model_fields}
    assert _first_column(_section(CONFIGURATION, "The node service")) == known
    assert _first_column(_section(DOCS / "node.md", "Settings")) == known


def test_settings_of_later_are_read_by_nothing_and_the_example_names_no_others() -> None:
    later = set(re.findall(r"`([A-Z][A-Z_]+)`", _section(CONFIGURATION, "Named already, read by nothing yet")))
    now = _settings_of_functions() | {name.upper() for name in NodeSettings.model_fields}
    assert later & now == set()
    example = set(re.findall(r"^([A-Z][A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert example - now == later


# The table of functions -------------------------------------------------------------------------------------------------


def _functions_as_markdown() -> str:
    """What stands between the marks in architecture.md."""
    rows = ["| target | called by | timeout | deadline | concurrency | instances | connections | CPU, MiB | flag |"]
    rows.append("|---|---|---|---|---|---|---|---|---|")
    for row in function_table.load().functions.values():
        caller = {"public": "any caller", "task": f"queue `{row.queue}`", "schedule": f"`{row.schedule}`"}[row.trigger]
        caller += f", +{row.second_pass_s} s" if row.second_pass_s else ""
        rows.append(
            f"| `{row.name}` | {caller} | {row.timeout_s} | {row.deadline_s or '-'} | {row.concurrency}"
            f" | {row.min_instances}..{row.max_instances} | {row.connections} | {row.cpu}, {row.memory_mib}"
            f" | {f'`{row.flag}`' if row.flag else '-'} |"
        )
    rows += [
        "",
        "| queue | per second | at once | attempts, at least | pause | for, at least |",
        "|---|---|---|---|---|---|",
    ]
    rows += [
        f"| `{queue.name}` | {queue.rate_per_second} | {queue.max_concurrent} | {queue.max_attempts}"
        f" | {queue.min_backoff_s}..{queue.max_backoff_s} | {queue.max_retry_s} |"
        for queue in function_table.load().queues.values()
    ]
    return "\n".join(rows)


def test_the_table_of_functions_is_copied_right() -> None:
    text = (DOCS / "architecture.md").read_text()
    assert text.partition("<!-- functions -->\n")[2].partition("\n<!-- /functions -->")[0] == _functions_as_markdown()


def test_the_sum_of_connections_is_told_right() -> None:
    rows = function_table.load().functions.values()
    pools = sum(row.max_instances * row.connections for row in rows)
    locks = sum(row.trigger == "schedule" for row in rows)
    assert f"that is {pools} + {locks} (" in (DOCS / "architecture.md").read_text()
    assert f"Atlas holds {pools + locks} " in (DOCS / "runbooks" / "database-unavailable.md").read_text()


# Events ---------------------------------------------------------------------------------------------------------------

_OUTCOMES = ("settled", "repeated", "duplicate", "unmatched", "no_money", "differs", "kept", "second_debit")


def _events(folders: tuple[str, ...], loggers: str) -> set[str]:
    """The first argument of every call of a logger."""
    found: set[str] = set()
    for path in CODE:
        if path.suffix != ".py" or not _named(path).startswith(folders):
            continue
        for call in (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)):
            if not re.search(loggers, ast.unparse(call.func)):
                continue
            for argument in call.args[:2]:
                if isinstance(argument, ast.Constant) and re.fullmatch(r"[a-z_]+", str(argument.value)):
                    found.add(str(argument.value))
                elif isinstance(argument, ast.JoinedStr):
                    found |= {f"payment_{outcome}" for outcome in _OUTCOMES}
    return found


def test_every_event_is_listed_and_every_listed_event_is_logged() -> None:
    text = _section(DOCS / "architecture.md", "Observability and secrets")
    ours, _, theirs = text.partition("Events of the node service:")
    listed = {
        name for row in re.findall(r"^\| [^|]* \| (.*) \|$", ours, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
    }
    assert listed == _events(("lib/", "functions/"), r"\blog\.(info|warning|error|exception)\b|^line$")
    assert set(re.findall(r"`(\w+)`", theirs)) == _events(("xray_api/",), r"^(log|failure)$|_log_change|\._person$")


@pytest.mark.parametrize("outcome", _OUTCOMES)
def test_every_outcome_of_a_payment_is_one_that_the_code_knows(outcome: str) -> None:
    code = "".join((ROOT / f"lib/domain/{name}.py").read_text() for name in ("inbox", "listings", "settlement"))
    assert f'"{outcome}"' in code


# Data -----------------------------------------------------------------------------------------------------------------


def test_every_table_is_described() -> None:
    sql = "".join(path.read_text() for path in sorted((ROOT / "lib/db/migrations").glob("0*.sql")))
    tables = set(re.findall(r"^create table (\w+)", sql, re.MULTILINE)) | {"schema_migrations"}
    assert _first_column(_section(DOCS / "data.md", "Tables")) == tables
    assert f"Schema `atlas`, {len(tables)} tables" in (DOCS / "architecture.md").read_text()


def test_retention_is_told_right() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \| [^|]+ \| (\d+) \| [^|]+ \|$", _section(DOCS / "data.md", "Retention"), re.MULTILINE
    )
    assert {name: int(days) for name, days in rows} == {rule.table: rule.days for rule in retention.RULES}


def test_every_invariant_is_named() -> None:
    page = _section(DOCS / "runbooks" / "invariant-violated.md", "What it means for customers")
    assert _first_column(page) == queries().keys()


# Runbooks -------------------------------------------------------------------------------------------------------------


def test_every_runbook_is_listed() -> None:
    listed = set(re.findall(r"\]\(([\w-]+\.md)(?:#[\w-]+)?\) \|", (DOCS / "runbooks" / "README.md").read_text()))
    assert listed == {page.name for page in RUNBOOKS}


@pytest.mark.parametrize("page", RUNBOOKS, ids=_named)
def test_a_runbook_has_its_five_parts(page: Path) -> None:
    parts = re.findall(r"^## (.+)$", page.read_text(), re.MULTILINE)
    assert sorted(parts) == ["Afterwards", "Check", "Fix", "What it means for customers", "What you see"]


@pytest.mark.parametrize("page", RUNBOOKS, ids=_named)
def test_a_runbooks_commands_have_project_and_region_filled_in(page: Path) -> None:
    """README.md of the runbooks sets them once in a shell, from the environment's own variables."""
    text = page.read_text()
    assert not re.findall(r"<(?:PROJECT|REGION|ENV|env)>", text)
    spans = re.findall(r"`(gcloud [^`]+)`", text) + re.findall(r"^(gcloud .*)$", text, re.MULTILINE)
    told = [one for one in spans if len(one.split()) > 4]  # shorter ones are a command's name
    assert [one for one in told if '"$PROJECT"' not in one] == []


def test_events_that_runbooks_name_are_logged() -> None:
    known = _events(("lib/", "functions/"), r"\blog\.|^line$") | _events(("xray_api/",), r"^(log|failure)$|_log_change")
    schema = (ROOT / "lib/db/migrations/0001_pre_core.sql").read_text()
    known |= function_table.load().functions.keys() | queries().keys() | set(re.findall(r"\w+", schema)) | {"xray_api"}
    kinds = "update|telegram_webhook|cryptobot_webhook|payment|invoice|task|sweep|node|message|reply|enqueue|xray"
    wrong = [
        f"{page.name}: {name}"
        for page in RUNBOOKS
        for name in re.findall(rf"`((?:{kinds})_\w+)`", page.read_text())
        if name not in known
    ]
    assert wrong == []


# What a person types --------------------------------------------------------------------------------------------------

_SQL = [
    pytest.param(block, id=f"{_named(page)}-{number}")
    for page in PAGES
    for number, block in enumerate(re.findall(r"^ *```sql\n(.*?)^ *```", page.read_text(), re.MULTILINE | re.DOTALL))
]


@pytest.fixture(scope="module")
def owner_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = Postgres(tmp_path_factory.mktemp("docs-postgres"), durable=False)
    server.start()
    server.create_database("docs")
    migrate(server.url("docs"), "local")
    yield server.url("docs")
    server.stop()


@pytest.fixture
def session(owner_url: str) -> Iterator[Connection]:
    connection = Connection(owner_url, application="docs", timeouts=Timeouts())
    connection.begin()
    yield connection
    connection.close()


@pytest.mark.parametrize("block", _SQL)
def test_every_statement_runs_on_this_schema(session: Connection, block: str) -> None:
    session.simple("create role atlas_functions")
    for statement in re.sub(r"<[A-Z_]+>", "1", block).split(";\n"):
        if "create role atlas_functions " in statement:
            session.simple("drop role atlas_functions")
        if statement.strip():
            session.simple(statement)


def test_access_is_given_by_hand_as_the_page_says() -> None:
    """The page's words are all that the command takes, and those that it shows as they stand are good."""
    line = re.search(r"^make give-access (.*)$", (DOCS / "runbooks" / "README.md").read_text(), re.MULTILINE)
    assert line
    words = dict(word.split("=", 1) for word in shlex.split(line[1]))
    filled = {name: re.sub(r"<[A-Z_]+>", "1001", value) for name, value in words.items()}
    assert {name.lower() for name in words} == {"env", *give_access.NAMES}
    wanted = give_access.wanted_of({name.lower(): value for name, value in filled.items()})
    assert (wanted.tariff, wanted.days, wanted.environment) == ("basic", 30, "prod")


def test_access_is_changed_by_hand_as_the_page_says() -> None:
    """Each line that it shows is one that the command takes; together they have all its words."""
    page = (DOCS / "runbooks" / "README.md").read_text()
    lines = re.findall(r"^make access (.*)$", page, re.MULTILINE)
    words = [dict(word.split("=", 1) for word in shlex.split(line)) for line in lines]
    assert {name.lower() for one in words for name in one} == {"env", *access.NAMES}
    for one in words:
        filled = {name.lower(): re.sub(r"<[A-Z_]+>", "1001", value) for name, value in one.items()}
        asked, is_confirmed = access.asked_of(dict.fromkeys(access.NAMES, "") | filled)
        assert (asked.change.value, is_confirmed) == (one["CHANGE"], "CONFIRM" in one)
    listed = page.partition("| `CHANGE` | does |")[2].partition("\n\n")[0]
    assert set(re.findall(r"`([a-z]+)`", "".join(line.split("|")[1] for line in listed.splitlines()[2:]))) == set(
        Change
    )


def test_invariants_are_checked_by_the_command_that_the_page_names() -> None:
    page = (DOCS / "runbooks" / "invariant-violated.md").read_text()
    assert "make doctor ENV=prod" in page.partition("## Check")[2].partition("##")[0]
    assert BY_NAME["invariants"].page == "runbooks/invariant-violated.md"


def test_a_statement_that_does_not_fit_the_schema_is_seen(session: Connection) -> None:
    with pytest.raises(DatabaseError):
        session.simple("select no_such_column from atlas.orders")


def test_decisions_are_numbered_without_gaps() -> None:
    numbers = sorted(int(page.name[:4]) for page in (DOCS / "decisions").glob("*.md"))
    assert numbers[0] == 1
    assert all(later == earlier + 1 for earlier, later in pairwise(numbers))
