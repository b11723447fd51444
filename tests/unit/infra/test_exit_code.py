"""What an operator's command that moves money or access ends with, and says, whatever happened."""

from __future__ import annotations

import pytest

from infra import transaction
from infra.environment import NoDatabase, NoEnvironment
from infra.google.client import BadEndpoint, GoogleError, NotLoggedIn
from lib.db import OutcomeUnknown, Unavailable
from lib.settings.pricelist import InvalidPriceList


class _Refused(Exception):
    pass


def _code(error: Exception) -> int:
    def work() -> int:
        raise error

    return transaction.exit_code(
        work, nothing="Nothing was changed", perhaps="It may be", again="Say it again.", refusals=(_Refused,)
    )


@pytest.mark.parametrize("error", [OutcomeUnknown("lost"), Unavailable("gone")])
def test_what_may_have_been_done_is_said_so(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    assert _code(error) == 1
    assert capsys.readouterr().err == f"It may be ({error}). Say it again.\n"


@pytest.mark.parametrize(
    "error",
    [NoDatabase("no way to it"), NotLoggedIn("log in"), GoogleError("projects.get", 503, "backendError", "try again")],
)
def test_what_another_try_may_mend_is_1(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    assert _code(error) == 1
    assert capsys.readouterr().err == f"Nothing was changed.\n{error}\n"


@pytest.mark.parametrize(
    "error", [_Refused("not so"), NoEnvironment("no such"), BadEndpoint("not there"), InvalidPriceList(["wrong"])]
)
def test_what_must_be_said_otherwise_is_2(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    assert _code(error) == 2
    assert capsys.readouterr().err == f"Nothing was changed.\n{error}\n"


@pytest.mark.parametrize("error", [KeyError("gold"), ValueError("odd"), ZeroDivisionError("by zero")])
def test_what_the_domain_can_not_reckon_is_named(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    assert _code(error) == 2
    assert capsys.readouterr().err == f"Nothing was changed.\n{type(error).__name__}: {error}\n"


def test_a_defect_of_ours_is_no_refusal() -> None:
    with pytest.raises(AssertionError):
        _code(AssertionError("ours"))
