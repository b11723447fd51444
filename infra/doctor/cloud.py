"""What only a project on Google Cloud has: backups, addressees of alerts, a budget, and what Terraform would change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.doctor.check import Check, NotCheckedError, WrongError, insist
from infra.doctor.queues import moment

if TYPE_CHECKING:
    from infra.doctor.deployment import Deployment, Json

_SUBJECT = "Google Cloud"
BACKUP_WITHIN_S = 36 * 3600.0
WINDOW_DAYS = 7


async def backups(deployment: Deployment) -> str:
    """Yesterday's backup is there, and a moment of the last week can be gone back to."""
    instance = await deployment.of_cloud(lambda cloud: cloud.database(), "database")
    if instance is None:
        raise NotCheckedError("the database is the operator's own, and so are its backups")
    kept = instance.get("settings", {}).get("backupConfiguration", {})
    problems = []
    if not kept.get("enabled"):
        problems.append("automatic backups are off")
    if not kept.get("pointInTimeRecoveryEnabled"):
        problems.append("point-in-time recovery is off")
    elif int(kept.get("transactionLogRetentionDays", 0)) < WINDOW_DAYS:
        problems.append(f"logs are kept for {kept.get('transactionLogRetentionDays', 0)} days, not {WINDOW_DAYS}")
    if instance.get("state") != "RUNNABLE":
        problems.append(f"the instance is {str(instance.get('state')).lower()}")
    runs = await deployment.of_cloud(lambda cloud: cloud.backups(), "backups")
    good = [
        found for one in runs if one.get("status") == "SUCCESSFUL" and (found := moment(one.get("endTime"))) is not None
    ]
    now = await deployment.now()
    age_s = (now - max(good)).total_seconds() if good else None
    made = moment(instance.get("createTime"))
    is_new = made is not None and (now - made).total_seconds() < BACKUP_WITHIN_S
    if age_s is None and not is_new:
        problems.append("no backup succeeded yet")
    elif age_s is None and not problems:
        raise NotCheckedError("the instance is new, and its first backup is to come")
    elif age_s is None:
        pass
    elif age_s > BACKUP_WITHIN_S:
        problems.append(f"the last backup that succeeded is {round(age_s / 3600)} h old")
    insist(problems)
    return f"{round((age_s or 0) / 3600)} h ago"


def _name(resource: Json) -> str:
    return str(resource.get("displayName") or resource.get("name", ""))


async def alerts(deployment: Deployment) -> str:
    """Every alert is on and reaches a person."""
    policies = await deployment.of_cloud(lambda cloud: cloud.alert_policies(), "policies")
    channels = {
        str(one.get("name")): one for one in await deployment.of_cloud(lambda cloud: cloud.channels(), "channels")
    }
    if not policies:
        raise WrongError("there is no alert policy")
    reachable = {
        name
        for name, one in channels.items()
        if one.get("enabled", True) and one.get("verificationStatus") != "UNVERIFIED"
    }
    problems = []
    for policy in policies:
        if not policy.get("enabled", True):
            problems.append(f"{_name(policy)} is switched off")
        elif not reachable.intersection(policy.get("notificationChannels", ())):
            problems.append(f"{_name(policy)} reaches no addressee")
    insist(problems)
    return f"{len(policies)} alerts, {len(reachable)} addressees"


async def budget(deployment: Deployment) -> str:
    """A budget tells someone before the bill does."""
    budgets = await deployment.of_cloud(lambda cloud: cloud.budgets(), "budgets")
    telling = [
        one
        for one in budgets
        if one.get("thresholdRules")
        and (
            one.get("notificationsRule", {}).get("monitoringNotificationChannels")
            or not one.get("notificationsRule", {}).get("disableDefaultIamRecipients")
        )
    ]
    if not telling:
        raise WrongError("there is no budget" if not budgets else "no budget tells anyone")
    units = telling[0].get("amount", {}).get("specifiedAmount", {})
    return f"{units.get('units', '')} {units.get('currencyCode', '')}".strip()


async def drift(deployment: Deployment) -> str:
    """Terraform would change nothing."""
    changes = await deployment.of_cloud(lambda cloud: cloud.drift(), "drift")
    if changes:
        more = [f"and {len(changes) - 10} more"] if len(changes) > 10 else []  # noqa: PLR2004 -- enough to see what it is about
        raise WrongError(*(f"Terraform would change {one}" for one in changes[:10]), *more)
    return ""


CHECKS = (
    Check(
        name="database-backups",
        part="cloud",
        subject=_SUBJECT,
        asks="the last backup is fresh, and the last week can be gone back to",
        customers="none today; if the database is lost, so is what they paid since the last backup.",
        mend="`make deploy` puts the settings back; Cloud SQL's operations tell why a backup failed.",
        page="doctor.md#no-fresh-backup",
        look=backups,
        after=("database",),
        timeout_s=30,
    ),
    Check(
        name="alerts-recipient",
        part="cloud",
        subject=_SUBJECT,
        asks="every alert is on and reaches a person",
        customers="trouble lasts until they tell you.",
        mend="`make deploy` puts alerts and addressees back; verify the addresses that ask for it.",
        page="doctor.md#an-alert-reaches-no-one-or-there-is-no-budget",
        look=alerts,
        timeout_s=30,
    ),
    Check(
        name="budget",
        part="cloud",
        subject=_SUBJECT,
        asks="a budget tells someone before the bill does",
        customers="none.",
        mend="Set `budget` in terraform.tfvars, and deploy.",
        page="doctor.md#an-alert-reaches-no-one-or-there-is-no-budget",
        look=budget,
        timeout_s=30,
    ),
    Check(
        name="drift",
        part="cloud",
        subject=_SUBJECT,
        asks="Terraform would change nothing",
        customers="none by itself; someone changed something by hand, and the next deploy undoes it.",
        mend="Find out who changed it and why; then `make deploy`, or change the configuration.",
        page="doctor.md#terraform-would-change-something",
        look=drift,
        timeout_s=180,
    ),
)
