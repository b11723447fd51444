"""How much of everything a run measures."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sizes:
    """Counts of repetitions.

    Attributes:
        updates: of one block of P1; even, since every person sends two.
        updates_thrown_away: of a server's first block, after which it is warm.
        update_rounds: blocks of each server.
        cold_starts: rounds; each starts every target and both comparison programs once.
        thrown_away: rounds before those, after which files are cached and bytecode is compiled.
        keys: orders followed from the webhook to the key message.
        cold_keys: orders followed there with every function cold.
        orders: orders followed one by one from the webhook to access on the node.
        parallel_orders: orders of the throughput figure.
        at_once: of those, how many are under way at the same time.
        burst: people of P12 who press /start in the same moment.
        burst_payments: webhooks of a quiet time of P12.
        burst_rounds: quiet times and bursts.
        settled: orders of each of P3's four workers, in a round.
        settled_rounds: rounds of P3, ours and pgbench's.
        settled_among: orders in the database meanwhile; its cost is looked at with a tenth of them as well.
        settled_growth: and with so many times as many.
        subscriptions: in the database of P4 and P5.
        ended: access of P4 that is over when the sweep begins; its cost is looked at with a tenth of it as well.
        ended_growth: and with so many times as much.
        ended_rounds: runs of the sweep.
        activated: access of P5 that is pending when the sweep begins; its cost is looked at with a tenth of it as well.
        activated_growth: and with so many times as much.
        activation_rounds: runs of the sweep.
        raw_adds: adds of the core itself, before and after each of them.
        held: clients that the node of P6 holds.
        hot_adds: clients added to them, one by one.
        rewrites: restarts with a file of one client more.
        watched: open invoices of P7; a pass is looked at with a tenth of them as well.
        watched_growth: and with so many times as many.
        watched_rounds: passes over each.
        storm: payment webhooks of P9.
        storm_copies: how often each of them is sent.
        storm_rounds: storms and quiet times.
        pairs: laps of each commit with --against, after one that is thrown away.
        lap_orders: orders of one by one, of in parallel, and of those unwatched, in a lap.
        again: whether the whole system is started a second time, warm, for the first message.
    """

    updates: int
    updates_thrown_away: int
    update_rounds: int
    cold_starts: int
    thrown_away: int
    keys: int
    cold_keys: int
    orders: int
    parallel_orders: int
    at_once: int
    burst: int
    burst_payments: int
    burst_rounds: int
    settled: int
    settled_rounds: int
    settled_among: int
    settled_growth: int
    subscriptions: int
    ended: int
    ended_growth: int
    ended_rounds: int
    activated: int
    activated_growth: int
    activation_rounds: int
    raw_adds: int
    held: int
    hot_adds: int
    rewrites: int
    watched: int
    watched_growth: int
    watched_rounds: int
    storm: int
    storm_copies: int
    storm_rounds: int
    pairs: int
    lap_orders: int
    again: bool


FULL = Sizes(
    updates=2000,
    updates_thrown_away=1000,
    update_rounds=9,
    cold_starts=15,
    thrown_away=1,
    keys=20,
    cold_keys=7,
    orders=100,
    parallel_orders=300,
    at_once=20,
    burst=200,
    burst_payments=40,
    burst_rounds=7,
    settled=500,
    settled_rounds=7,
    settled_among=100_000,
    settled_growth=10,
    subscriptions=1_000_000,
    ended=10_000,
    ended_growth=10,
    ended_rounds=5,
    activated=10_000,
    activated_growth=10,
    activation_rounds=5,
    raw_adds=2000,
    held=50_000,
    hot_adds=300,
    rewrites=5,
    watched=10_000,
    watched_growth=10,
    watched_rounds=5,
    storm=1000,
    storm_copies=20,
    storm_rounds=3,
    pairs=12,
    lap_orders=30,
    again=True,
)
SMALL = Sizes(
    updates=80,
    updates_thrown_away=8,
    update_rounds=1,
    cold_starts=1,
    thrown_away=0,
    keys=1,
    cold_keys=1,
    orders=2,
    parallel_orders=4,
    at_once=2,
    burst=8,
    burst_payments=4,
    burst_rounds=1,
    settled=3,
    settled_rounds=1,
    settled_among=100,
    settled_growth=2,
    subscriptions=400,
    ended=20,
    ended_growth=2,
    ended_rounds=1,
    activated=20,
    activated_growth=2,
    activation_rounds=1,
    raw_adds=5,
    held=20,
    hot_adds=5,
    rewrites=1,
    watched=1_000,
    watched_growth=2,
    watched_rounds=1,
    storm=8,
    storm_copies=4,
    storm_rounds=1,
    pairs=2,
    lap_orders=2,
    again=False,
)
"""Enough to see that everything works; its figures mean nothing."""
