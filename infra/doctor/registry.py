"""The one list of checks, in the order of the answer; docs/doctor.md is this list."""

from __future__ import annotations

from infra.doctor import cloud, cryptopay, database, functions, money, nodes, queues, schedules, settings, telegram

CHECKS = (
    *settings.CHECKS,
    *telegram.CHECKS,
    *cryptopay.CHECKS,
    *functions.CHECKS,
    *database.CHECKS,
    *queues.CHECKS,
    *schedules.CHECKS,
    *nodes.CHECKS,
    *money.CHECKS,
    *cloud.CHECKS,
)
BY_NAME = {check.name: check for check in CHECKS}
