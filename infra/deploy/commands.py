"""Which steps each command has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.deploy.steps import (
    apis,
    bundle,
    by_hand,
    chosen_release,
    foundation,
    image,
    left_behind,
    migrate_job,
    migrate_post,
    migrate_pre,
    policies,
    prerequisites,
    profile,
    protection,
    prove,
    purchase,
    record,
    release,
    secret_values,
    serving,
    state,
    state_bucket,
    storage,
    take_down,
    webhook,
    webhook_kept,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from infra.deploy.engine import Step

DEPLOY: Sequence[Step] = (
    prerequisites,
    apis,
    policies,
    state_bucket,
    state,
    bundle,
    storage,
    secret_values,
    foundation,
    image,
    migrate_job,
    migrate_pre,
    release,
    serving,
    record,
    migrate_post,
    webhook,
    profile,
    by_hand,
    purchase,
    prove,
)
ROLLBACK: Sequence[Step] = (prerequisites, state, chosen_release, release, serving, record, webhook_kept, prove)
DESTROY: Sequence[Step] = (prerequisites, state, protection, take_down, left_behind)

COMMANDS: Mapping[str, Sequence[Step]] = {"deploy": DEPLOY, "rollback": ROLLBACK, "destroy": DESTROY}
