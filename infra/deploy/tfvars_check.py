"""Whether the variables can be what they are for: Terraform's own rules, and the functions' own readers of settings. No cloud, no state.

Terraform lists what its rules refuse only after it has asked the cloud about the state; here the rules alone are run, in a folder of their
own: the environment's module call over the platform's variables and nothing else. Every refusal comes at once.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra import bundle, tfvars
from infra.deploy import variable_files
from infra.deploy.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

_DECLARED = re.compile(r'^variable\s+"([a-z0-9_]+)"', re.MULTILINE)
_CHECKED_AT = re.compile(r"\s*This was checked by the validation rule at .*", re.DOTALL)
_PROJECT = re.compile(r'^data "google_project" "main" \{.*?^\}\n', re.MULTILINE | re.DOTALL)
_NO_FUNCTION = "overrides names what is no function"  # each is told by its name already
# What the platform makes of a deploy itself: any well-formed value stands for it here.
_MADE = {
    "DATABASE_URL": "postgresql://u:p@/atlas?host=/cloudsql/p:r:i",
    "TELEGRAM_BOT_TOKEN": "1:AAAAAAAA",
    "TELEGRAM_WEBHOOK_SECRET": "s",
    "FUNCTION_URL_TEMPLATE": "https://{name}.example.org",
    "TASKS_INVOKER": "tasks-{queue}@project.iam.gserviceaccount.com",
    "TASKS_PROJECT": "project-1",
    "TASKS_LOCATION": "region1",
}
_FILLED_IN = ("project_id", "domain", "alert_emails", "paging_channels", "runbooks_url")
_FILLED_IN_BELOW = (("budget", "billing_account"), ("settings", "TELEGRAM_BOT_USERNAME"), ("settings", "SUPPORT_URL"))
_WITH_PARTS = {"budget": False, "database": False, "overrides": True}
"""Variables that are objects; whether they are so a row each."""
_PRIVATE = "private"
# For the rules of what belongs together: whatever else is wrong in the files is told by the first look, and must not hide these.
_TOGETHER = ("database", "database_name", "overrides", "size")
_WELL: dict[str, Any] = {
    "alert_emails": ["oncall@example.org"],
    "project_id": "atlas-000001",
    "region": "europe-west1",
    "runbooks_url": "https://example.org/runbooks",
}
_OWN_LISTS = {
    "secret_versions": variable_files.SECRETS,
    "release": variable_files.RELEASE,
}


def problems(folder: Path, checkout: Path, *, rules: bool = True) -> list[Problem]:
    """All that is wrong with the variables of the environment in `folder`.

    Args:
        folder: of the environment, with its terraform.tfvars.
        checkout: the root of the repository.
        rules: Terraform's own are asked; not so where there is no Terraform.
    """
    path = folder / "terraform.tfvars"
    if not path.exists() and not (folder / "terraform.tfvars.json").exists():
        return [
            Problem(
                f"there is no {_short(path, checkout)}",
                f"cp {_short(path, checkout)}.example {_short(path, checkout)} and fill it in",
            )
        ]
    try:
        given = {one: tfvars.read_file(one) for one in tfvars.files(folder)}
    except tfvars.UnreadableVariables as error:
        return [Problem(str(error), f"edit {_short(path, checkout)}")]
    merged: dict[str, Any] = {}
    for one in given.values():
        merged |= one
    edit = f"edit {_short(path, checkout)}"
    found = [Problem(words, edit) for words in _unknown(folder, merged)]
    found += [Problem(words, edit) for words in _unknown_parts(folder, merged)]
    found += [Problem(words, edit) for words in _no_function(checkout, merged)]
    found += [Problem(words, edit) for words in _twice(folder, given)]
    found += [Problem(words, edit) for words in _left_as_in_the_example(folder, merged)]
    found += [Problem(words, edit) for words in _of_another_environment(folder, merged)]
    with tempfile.TemporaryDirectory(prefix="atlas-variables-") as scratch:
        try:
            names = bundle.names(checkout)
            bundle.build(Path(scratch) / "source.zip", checkout)
        except bundle.UnknownFileError as error:
            return [
                *found,
                Problem(
                    f"{error} lies among what is deployed, and no rule says whether it is",
                    "move it, or name its kind in infra/bundle.py",
                ),
            ]
        except FileNotFoundError as error:
            return [*found, Problem(f"{error} is missing in this checkout", f"git checkout -- {error}")]
        except bundle.StaleLockError as error:
            return [
                *found,
                Problem(f"{bundle.LOCK} is not of {bundle.PINS}: {error}", f"make lock, and commit {bundle.LOCK}"),
            ]
        if rules:
            found += [Problem(words, edit) for words in _refused_by_rules(Path(scratch), folder, checkout, given)]
        settings = merged.get("settings")
        if isinstance(settings, dict):
            found += [
                Problem(f"settings: {words}", edit)
                for words in _refused_settings({str(name): str(value) for name, value in settings.items()}, checkout)
            ]
            found += [Problem(f"settings: {words}", edit) for words in _price_list(settings, names)]
    return found


def _short(path: Path, checkout: Path) -> str:
    return str(path.relative_to(checkout)) if path.is_relative_to(checkout) else str(path)


def _unknown(folder: Path, given: Mapping[str, Any]) -> list[str]:
    declared = set(_DECLARED.findall((folder / "variables.tf").read_text()))
    return [f"there is no variable {name}" for name in sorted(given.keys() - declared)]


def _unknown_parts(folder: Path, given: Mapping[str, Any]) -> list[str]:
    """Names inside a variable that its type does not have: Terraform drops them without a word, and what was meant is not done."""
    text = (folder / "variables.tf").read_text()
    found = []
    for name in sorted(given.keys() & _WITH_PARTS.keys()):
        declared = re.search(rf'^variable "{name}" \{{.*?object\(\{{(.*?)\}}\)', text, re.MULTILINE | re.DOTALL)
        known = set(re.findall(r"^\s*([a-z_]+)\s*=", declared[1], re.MULTILINE)) if declared else set()
        rows = _below(given, name) if _WITH_PARTS[name] else {"": given[name]}
        for row, parts in sorted(rows.items()):
            if isinstance(parts, dict):
                whole = f"{name}.{row}" if row else name
                found += [
                    f"{whole} has no {part}; it has {', '.join(sorted(known))}" for part in sorted(parts.keys() - known)
                ]
    return found


def _no_function(checkout: Path, given: Mapping[str, Any]) -> list[str]:
    """Overrides of what is no row of the table."""
    table = json.loads((checkout / "functions" / "table.json").read_text())
    together = bool(table.get("sizes", {}).get(str(given.get("size", "")), {}).get("private"))
    known = table["functions"].keys() | ({_PRIVATE} if together else set())
    return [
        f"overrides: {name} is no function of functions/table.json"
        + (" (private is one of size small alone)" if name == _PRIVATE else "")
        for name in sorted(_below(given, "overrides").keys() - known)
    ]


def _twice(folder: Path, given: Mapping[Path, Mapping[str, Any]]) -> list[str]:
    """What a person wrote and a command wrote differently: the command's would win, unseen."""
    words = []
    for name, file in _OWN_LISTS.items():
        own = given.get(folder / file, {}).get(name)
        for path, content in given.items():
            if path.name != file and own is not None and content.get(name) not in (None, own):
                words.append(
                    f"{name} of {path.name} is not what {file} says, which is in force: take it out of {path.name}"
                )
    return words


def _left_as_in_the_example(folder: Path, given: Mapping[str, Any]) -> list[str]:
    """What was not filled in; a region or a file's place may well be the example's."""
    example = tfvars.read_file(folder / "terraform.tfvars.example")
    pairs = {name: (example.get(name), given.get(name)) for name in _FILLED_IN}
    for group, name in _FILLED_IN_BELOW:
        old, new = (_below(part, group).get(name) for part in (example, given))
        pairs[f"{group}.{name}"] = (old, new)
    return [f"{name} is still the example's" for name, (old, new) in pairs.items() if old is not None and old == new]


def _below(given: Mapping[str, Any], group: str) -> Mapping[str, Any]:
    found = given.get(group)
    return found if isinstance(found, dict) else {}


def _of_another_environment(folder: Path, given: Mapping[str, Any]) -> list[str]:
    """One project holds one environment: names are not told apart by it."""
    found = []
    for other in sorted(folder.parent.iterdir()):
        if other == folder or not (other / "terraform.tfvars").is_file():
            continue
        try:
            theirs = tfvars.read_file(other / "terraform.tfvars").get("project_id")
        except tfvars.UnreadableVariables:
            continue  # told when that environment is deployed
        if theirs is not None and theirs == given.get("project_id"):
            found.append(f"project_id is {other.name}'s as well: one project holds one environment")
    return found


def _refused_by_rules(
    scratch: Path, folder: Path, checkout: Path, given: Mapping[Path, Mapping[str, Any]]
) -> list[str]:
    modules = folder.parents[1] / "modules"
    root = scratch / "infra" / "terraform" / "environments" / "it"
    platform = scratch / "infra" / "terraform" / "modules" / "platform"
    for one in (root, platform, scratch / "functions"):
        one.mkdir(parents=True)
    for name in ("main.tf", "variables.tf"):
        shutil.copy(folder / name, root)
    shutil.copy(checkout / "functions" / "table.json", scratch / "functions")
    for name in ("variables.tf", "connections.tf"):
        shutil.copy(modules / "platform" / name, platform)
    table = (modules / "platform" / "locals.tf").read_text()  # all of it but the one look at the cloud
    (platform / "locals.tf").write_text(_PROJECT.sub("", table).replace("data.google_project.main.number", '"0"'))
    (platform / "own_database.tf").write_text("locals {\n  own_database = var.database.url_secret != null\n}\n")
    environment = os.environ | {"TF_IN_AUTOMATION": "1", "TF_INPUT": "0", "CHECKPOINT_DISABLE": "1"}
    environment.pop("TF_DATA_DIR", None)

    def terraform(*command: str) -> str:
        return subprocess.run(  # noqa: S603 -- the arguments are this module's
            ["terraform", f"-chdir={root}", *command],  # noqa: S607 -- found on PATH
            env=environment,
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ).stdout

    def planned(*files: Path) -> list[str]:
        variables = [f"-var-file={file.resolve()}" for file in files]
        bundled = f"-var=bundle_path={scratch / 'source.zip'}"
        return list(_diagnostics(terraform("plan", "-input=false", "-json", "-lock=false", *variables, bundled)))

    begun = list(_diagnostics(terraform("init", "-input=false", "-no-color", "-json", "-backend=false")))
    told = begun + planned(*given)
    if told and not begun:
        merged = {name: value for one in given.values() for name, value in one.items() if name in _TOGETHER}
        rest = scratch / "together.tfvars.json"
        rest.write_text(json.dumps(_WELL | merged))
        told += planned(rest)
    return sorted({one for one in told if not one.startswith(_NO_FUNCTION)})


def _diagnostics(told: str) -> list[str]:
    found = []
    for line in told.splitlines():
        try:
            one = json.loads(line)
        except ValueError:
            continue
        diagnostic = one.get("diagnostic") or {}
        if one.get("@level") == "error" and diagnostic:
            detail = _CHECKED_AT.sub("", str(diagnostic.get("detail", ""))).strip()
            found.append(" ".join((detail or str(diagnostic.get("summary"))).split()))
    return found


def _refused_settings(settings: Mapping[str, str], checkout: Path) -> list[str]:
    """By the very readers that the functions use, in a process that sees these settings and nothing else."""
    kept = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG", "PYTHONPATH"}}
    made = _MADE | ({"XRAY_API_KEY": "k"} if settings.get("XRAY_API_URL") else {})
    run = subprocess.run(
        [sys.executable, "-m", "lib.settings.check"],
        cwd=checkout,
        env=kept | made | dict(settings),
        check=False,
        capture_output=True,
        text=True,
    )
    if run.returncode == 0:
        return []
    lines = [line for line in run.stderr.splitlines() if line.strip()]
    if any(line.startswith("Traceback") for line in lines):  # the check itself broke: say where, not thirty lines
        return [f"they can't be checked: {lines[-1]}"]
    return lines


def _price_list(settings: Mapping[str, Any], deployed: list[str]) -> list[str]:
    path = settings.get("TARIFFS_PATH")
    if path and str(path) not in deployed:
        return [f"TARIFFS_PATH: {path} is not among what is deployed (functions/, lib/), so no function would find it"]
    return []
