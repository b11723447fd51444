"""What a take-down leaves, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from infra.deploy.engine import Change
    from infra.deploy.world import World

NAME = "left_behind"
TITLE = "What stays"


def look(world: World) -> Change | None:
    """Said; nothing is changed here."""
    project = world.project
    for line in (
        f"gs://{world.bucket}: versions of Terraform's state and of the record of releases",
        f"the project {project} itself, its APIs, its link to a billing account: gcloud projects delete {project}",
        f"the database's last backups, which cost until they are deleted: gcloud sql backups list --project={project} --instance=-",
        "names: a queue's can't be used again for 7 days, a database server's for a week (database.name)",
        "the webhook at Telegram, which keeps updates for a day: deleteWebhook, or deploy elsewhere with the same bot",
        "the webhook at @CryptoBot, the domain's records, the VPN nodes and their clients",
    ):
        world.talk.say(f"    {line}")
    return None
