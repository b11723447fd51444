"""`python -m sandbox <command>`: what the Makefile calls."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sandbox.commands import demo, run, running, tour
from sandbox.stand_in.faults import BAD_DAY, NONE

_ROOT = Path(__file__).resolve().parent.parent
_HOME = _ROOT / ".local"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sandbox", description="Atlas on this machine.")
    parser.add_argument(
        "--home",
        type=Path,
        default=_HOME,
        help="where state is kept (default: .local/; of a real bot: beside it, in .local-real/)",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run", help="start everything and open a chat with the bot")
    running.add_argument("--no-browser", action="store_true", help="print the address only")
    running.add_argument("--no-scheduler", action="store_true", help="sweeps run only when asked to")
    whose = running.add_mutually_exclusive_group()
    whose.add_argument(
        "--real", action="store_true", help="the real Telegram; asks for the bot's token if there is none"
    )
    whose.add_argument("--stand-in", action="store_true", help="the stand-in for Telegram, even where there is a token")
    running.add_argument("--env-file", type=Path, default=_ROOT / ".env", help="settings to take over (default: .env)")
    telling = commands.add_parser("demo", help="one whole customer life, every step checked")
    telling.add_argument("--megabytes", type=int, default=20, help="how much goes through the tunnel")
    telling.add_argument(
        "--bad-day",
        action="store_true",
        help="every webhook twice, one in ten lost, those of different queues reordered, 5 %% of calls answered 429",
    )
    touring = commands.add_parser("tour", help="one customer life in a real browser, photographed step by step")
    touring.add_argument("--out", type=Path, default=tour.SCREENS, help="where pictures go (default: docs/screens/)")
    sweeping = commands.add_parser("sweep", help="run a sweep of the running system now")
    sweeping.add_argument("name", nargs="?", default="", help="expiry, activation, ...")
    commands.add_parser("psql", help="a prompt in the running system's database")
    commands.add_parser("logs", help="follow every log of the running system")
    commands.add_parser("reset", help="forget the state of the local system")
    return parser.parse_args()


def main() -> int:  # noqa: PLR0911 -- a table of commands reads best as one
    """The exit code: 0 done, 1 failed, 2 asked for what can't be."""
    given = _arguments()
    match given.command:
        case "run":
            return run.run(
                given.home,
                browser=not given.no_browser,
                scheduler=not given.no_scheduler,
                env_file=given.env_file,
                telegram="real" if given.real else "stand-in" if given.stand_in else "as given",
            )
        case "demo":
            return demo.main(given.megabytes, BAD_DAY if given.bad_day else NONE)
        case "tour":
            return tour.main(given.out)
        case "sweep":
            return running.sweep(given.home, given.name)
        case "psql":
            return running.psql(given.home)
        case "logs":
            return running.logs(given.home)
        case _:
            return running.reset(given.home)


if __name__ == "__main__":
    sys.exit(main())
