"""`python -m infra.deploy deploy|rollback|destroy --env dev|prod [--yes] [--release ID]` (`make deploy ENV=...`)."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from infra.deploy import engine, folder_lock
from infra.deploy.cloud import ObjectChanged
from infra.deploy.commands import COMMANDS
from infra.deploy.google_cloud import GoogleCloud
from infra.deploy.problems import Declined, Refused
from infra.deploy.talk import Talk
from infra.deploy.telegram import BotApi, TelegramRefused
from infra.deploy.terraform import Terraform, TerraformFailed
from infra.deploy.world import ENVIRONMENTS, World
from infra.google.client import BadEndpoint, Google, GoogleError, NotLoggedIn, endpoint
from infra.google.secrets import DamagedValue
from infra.google.waiting import TookTooLong
from lib import interrupted

_CHECKOUT = Path(__file__).resolve().parents[2]
_RELEASE = re.compile(r"[0-9a-f]{16}")
_AGAIN = "The same command goes on from here, as often as it takes."


def main(given: list[str] | None = None) -> int:
    """0 when it is as wanted, 1 when not and it was said why, 2 for a wrong call, 130 when it was interrupted."""
    parser = argparse.ArgumentParser(prog="python -m infra.deploy", description="Deploy, roll back, take down.")
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("--env", default="", help="dev or prod")
    parser.add_argument("--yes", action="store_true", help="ask nothing; secrets come from the environment")
    parser.add_argument("--release", default="", help="of a rollback: which release")
    options = parser.parse_args(given)
    wrong = _wrong(options)
    for line in wrong:
        sys.stderr.write(f"{options.command}: {line}\n")
    if wrong:
        return 2
    talk = Talk(yes=options.yes)
    world = World(
        environment=options.env,
        checkout=_CHECKOUT,
        talk=talk,
        terraform=Terraform(
            _CHECKOUT / "infra" / "terraform" / "environments" / options.env, lambda line: talk.say(f"      {line}")
        ),
        connect=lambda project, region: GoogleCloud(Google(project), region),
        bot_api=BotApi,
        offline=endpoint() is not None,
        goes_back=options.command == "rollback",
        migrates=options.command == "deploy",
        wanted_release=options.release,
    )
    return _run(options.command, world)


def _wrong(options: argparse.Namespace) -> list[str]:
    found = []
    if options.env not in ENVIRONMENTS:
        found.append(f"ENV must be one of {', '.join(ENVIRONMENTS)}: make {options.command} ENV=dev")
    if options.release and options.command != "rollback":
        found.append("RELEASE is a rollback's; a deploy is of this checkout")
    elif options.release and not _RELEASE.fullmatch(options.release):
        found.append("RELEASE must be 16 hexadecimal digits, as make deploy said them")
    try:
        endpoint()
    except BadEndpoint as error:
        found.append(str(error))
    return found


def _run(command: str, world: World) -> int:
    try:
        with folder_lock.held(world.folder):
            engine.run(command, COMMANDS[command], world)
    except Refused as error:
        _say("", f"{command}: {len(error.problems)} in the way:")
        for problem in error.problems:
            _say(f"  - {problem}")
        _say(_AGAIN)
    except Declined as error:
        _say(f"{command}: {error}")
    except TerraformFailed as error:
        _say("", f"{command}: Terraform could not do it:", *(f"  {line}" for line in str(error).splitlines()), _AGAIN)
    except (GoogleError, NotLoggedIn, TookTooLong, DamagedValue, ObjectChanged, TelegramRefused, OSError) as error:
        _say("", f"{command}: {error}", _AGAIN)
    except KeyboardInterrupt:
        _say("", f"{command}: stopped. {_AGAIN}")
        return interrupted.EXIT
    else:
        world.talk.say(f"{command}: done")
        return 0
    return 1


def _say(*lines: str) -> None:
    for line in lines:
        sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())
