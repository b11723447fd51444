"""The doctor's look at the database, where rights were taken away."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from infra import environment
from infra.doctor.check import State
from infra.doctor.examine import examine
from infra.doctor.of_environment import deployment_of
from infra.doctor.registry import BY_NAME
from tests.integration.infra.conftest import READER, as_superuser
from tests.waiting import until

if TYPE_CHECKING:
    from infra.doctor.check import Finding
    from sandbox.google import Google as StandIn
    from sandbox.google.database_end import DatabaseEnd
    from sandbox.postgres.server import Postgres


async def _look(check: str = "database") -> Finding:
    deployment = deployment_of(environment.load("dev"))
    try:
        (found,) = await examine(deployment, [BY_NAME[check]])
        return found
    finally:
        await deployment.close()


async def test_functions_that_may_not_write_after_a_restore_s_revoke_are_named(
    cloud: StandIn, server: Postgres
) -> None:
    assert cloud.url
    assert (await _look()).problems == ()
    with as_superuser(server, "atlas") as session:
        try:
            session.run("begin")
            session.run("revoke insert, update, delete on atlas.updates from atlas_app")
            session.run("commit")
            problems = (await _look()).problems
        finally:
            session.run("grant insert, update, delete on atlas.updates to atlas_app")
    assert [problem.partition(":")[0] for problem in problems] == [
        "the functions' login may not insert updates",
        "the functions' login may not update updates",
    ]


@pytest.mark.proves("N-60.money")
async def test_sales_and_trials_that_are_switched_off_are_named(cloud: StandIn, server: Postgres) -> None:
    assert cloud.url
    assert (await _look("flags")).state is State.OK
    with as_superuser(server, "atlas") as session:
        try:
            session.run(
                "insert into atlas.flags (name, enabled) values"
                " ('payments', false), ('trial', false), ('sweep.payments', false), ('something', false), ('open', true)"
            )
            found = await _look("flags")
        finally:
            session.run("delete from atlas.flags")
    assert [" ".join(one.split()[:4]) for one in found.problems] == [
        "payments is switched off",
        "something is switched off",
        "trial is switched off",
    ]
    assert found.problems[0].endswith("UTC: nothing is sold")
    assert (await _look("flags")).state is State.OK


async def test_every_question_is_asked_on_two_sessions_and_one_that_ended_is_made_anew(
    cloud: StandIn, server: Postgres, end: DatabaseEnd
) -> None:
    """A session for each question would have the last checks wait past their time for what is well."""
    assert cloud.url
    deployment = deployment_of(environment.load("dev"))
    try:
        asked = [BY_NAME[name] for name in ("database", "database-roles", "sweeps-flags", "flags", "messages-lost")]
        found = await examine(deployment, asked)
        assert [(one.check.name, one.problems, one.said) for one in found if one.state is not State.OK] == []
        assert len(end.logins) == 2
        with as_superuser(server) as session:
            session.run(
                "select pg_terminate_backend(pid, 5000) from pg_stat_activity where usename = :name", name=READER
            )
        (again,) = await examine(deployment, [BY_NAME["flags"]])
        assert (again.state, again.problems) == (State.OK, ())
    finally:
        await deployment.close()
    with as_superuser(server) as session:
        waits = "select count(*) from pg_stat_activity where usename = :name"
        await until(lambda: session.run(waits, name=READER) == [[0]], "every session of the doctor has ended", 30)


@pytest.mark.proves("N-60.money")
@pytest.mark.parametrize(
    ("status", "named"),
    [
        ("unmatched", "1 payments fit no order"),
        ("duplicate", "1 further charges of paid orders are neither credited nor given back"),
    ],
)
async def test_money_that_waits_for_an_operator_is_named(
    cloud: StandIn, server: Postgres, status: str, named: str
) -> None:
    assert cloud.url
    assert (await _look("payments-unmatched")).state is State.OK
    with as_superuser(server, "atlas") as session:
        try:
            session.run(
                "insert into atlas.payment_events"
                " (provider, external_id, body, meaning, via, status, processed_at, correlation_id)"
                " values ('cryptobot', 'doctor', '', '', 'webhook', :status, atlas.now(), 'doctor')",
                status=status,
            )
            found = await _look("payments-unmatched")
        finally:
            session.run("delete from atlas.payment_events where external_id = 'doctor'")
    assert found.problems == (named,)


@pytest.mark.proves("N-60.money")
async def test_a_refund_that_waits_or_was_refused_is_named(cloud: StandIn, server: Postgres) -> None:
    assert cloud.url
    assert (await _look("refunds-waiting")).state is State.OK
    with as_superuser(server, "atlas") as session:
        try:
            session.run(
                "with charge as ("
                "    insert into atlas.payment_events (provider, external_id, body, meaning, via, status, processed_at, correlation_id)"
                "    values ('stars', 'doctor', '', '', 'webhook', 'settled', atlas.now(), 'doctor') returning id)"
                " insert into atlas.refund_requests (event_id, reason, correlation_id, requested_at)"
                " select id, 'doctor', 'doctor', atlas.now() - interval '11 min' from charge"
            )
            waits = await _look("refunds-waiting")
            session.run("update atlas.refund_requests set status = 'refused', ended_at = atlas.now()")
            refused = await _look("refunds-waiting")
        finally:
            session.run("delete from atlas.refund_requests")
            session.run("delete from atlas.payment_events where external_id = 'doctor'")
    assert waits.problems == ("stars has not given 1 charges back, the first asked for 11 min ago",)
    assert [one.partition(" of event")[0].partition(": ")[2] for one in refused.problems] == [
        "stars refused the refund"
    ]


@pytest.mark.proves("N-60.money")
async def test_a_provider_that_differs_or_was_not_compared_is_named(cloud: StandIn, server: Postgres) -> None:
    assert cloud.url
    assert (await _look("books-against-providers")).state is State.OK
    with as_superuser(server, "atlas") as session:
        try:
            session.run(
                "insert into atlas.payment_events (provider, external_id, body, meaning, via, received_at, correlation_id)"
                " values ('cryptobot', 'old', '', '', 'webhook', atlas.now() - interval '27 hours', 'doctor')"
            )
            never = await _look("books-against-providers")
            session.run(
                "insert into atlas.reconciliations (provider, day, lines, matched, under_way, complete)"
                " values ('cryptobot', '2026-01-01', 1, 1, 0, true)"
            )
            now = await _look("books-against-providers")
            session.run("update atlas.reconciliations set compared_at = compared_at - interval '27 hours'")
            long_ago = await _look("books-against-providers")
            session.run("update atlas.reconciliations set compared_at = atlas.now()")
            session.run(
                "insert into atlas.reconciliation_differences"
                " (provider, day, state, kind, external_id, asset, of_fee, said, booked)"
                " values ('cryptobot', '2026-01-01', 'missing_there', 'charge', '17', 'USDT', false, null, 2.5)"
            )
            differs = await _look("books-against-providers")
        finally:
            session.run("delete from atlas.reconciliation_differences")
            session.run("delete from atlas.reconciliations")
            session.run("delete from atlas.payment_events")
    assert never.problems == ("cryptobot: was never compared with the books",)
    assert now.state is State.OK
    assert [one.partition(" since ")[0] for one in long_ago.problems] == ["cryptobot: was not compared with the books"]
    assert differs.problems == (
        "cryptobot: charge 17: missing there; the provider says nothing, the books say 2.5 USDT",
    )
    assert (await _look("books-against-providers")).state is State.OK
