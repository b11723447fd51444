"""The database: the schema that this checkout needs, roles that can't change the books, space for everything."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from infra.doctor.check import Check, NotCheckedError, WrongError, insist
from lib.db.address import BadAddress, DatabaseAddress

if TYPE_CHECKING:
    from infra.doctor.deployment import Deployment

_SUBJECT = "Database"
_MIGRATIONS = Path(__file__).resolve().parents[2] / "lib" / "db" / "migrations"
_OLDEST_SERVER = 15
MOST_CONNECTIONS = 0.8
"""Share of the connections that ordinary roles can have; beyond it a deploy, which runs old and new instances, may not fit."""
LONGEST_TRANSACTION_S = 300
LONGEST_IDLE_S = 60
LONGEST_LOCK_WAIT_S = 5
FULLEST_DISK = 0.85

ONLY_GROW = (
    *("payments", "refunds", "ledger_transfers", "ledger_entries", "subscription_history", "audit_log"),
    *("payment_event_bodies", "closed_days", "closed_months", "ledger_snapshots"),
    *("ledger_codes", "providers", "currencies", "schema_migrations", "deployment", "audit_head", "placement"),
)
"""Tables in which functions may change no row and take none away (lib/db/migrations/roles.sql)."""
NEVER_DELETED = ("orders", "payment_events", "accounts", "ledger_accounts", "subscriptions")

_ROLES = """
with logins as (
    select 'atlas_app' as name where exists (select from pg_catalog.pg_roles where rolname = 'atlas_app')
    union
    select cast(member.rolname as text) from pg_catalog.pg_auth_members m
    join pg_catalog.pg_roles app on app.oid = m.roleid and app.rolname = 'atlas_app'
    join pg_catalog.pg_roles member on member.oid = m.member
    where not m.admin_option -- who made the role is a member of it, to grant it
), wanted as (
    select t.name, 'update' as privilege from pg_catalog.unnest(cast(:only_grow as text[])) as t (name)
    union all
    select t.name, 'delete' from pg_catalog.unnest(cast(:only_grow as text[]) || cast(:never_deleted as text[])) as t (name)
    union all
    select t.name, 'truncate' from pg_catalog.unnest(cast(:only_grow as text[]) || cast(:never_deleted as text[])) as t (name)
)
select logins.name as login, wanted.name as table_name, wanted.privilege
from logins cross join wanted
where pg_catalog.has_table_privilege(logins.name, 'atlas.' || wanted.name, wanted.privilege)
   or wanted.privilege = 'update' and pg_catalog.has_any_column_privilege(logins.name, 'atlas.' || wanted.name, 'update')
order by 1, 2, 3
"""
_WRITTEN = ("orders", "updates")
"""Tables that every sale and every update changes."""
_CANNOT_WRITE = """
select t.name as table_name, privilege
from pg_catalog.unnest(cast(:written as text[])) as t (name)
cross join pg_catalog.unnest(array['insert', 'update']) as privilege
where exists (select from pg_catalog.pg_roles where rolname = 'atlas_app')
  and pg_catalog.to_regclass('atlas.' || t.name) is not null
  and not pg_catalog.has_table_privilege('atlas_app', pg_catalog.to_regclass('atlas.' || t.name), privilege)
  and not pg_catalog.has_any_column_privilege('atlas_app', pg_catalog.to_regclass('atlas.' || t.name), privilege)
order by 1, 2
"""
_MIGHTY = """
select cast(member.rolname as text) as login from pg_catalog.pg_auth_members m
join pg_catalog.pg_roles app on app.oid = m.roleid and app.rolname = 'atlas_app'
join pg_catalog.pg_roles member on member.oid = m.member
where not m.admin_option and (member.rolsuper or member.rolcreaterole or member.rolcreatedb or member.rolbypassrls)
order by 1
"""
_OWNS = """
select true as owns from pg_catalog.pg_roles r
where r.rolname = :login and exists (
    select from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace and n.nspname = 'atlas'
    where c.relkind in ('r', 'p') and pg_catalog.pg_has_role(r.oid, c.relowner, 'usage'))
"""
"""A superuser and a member of the owner's role count as the owner."""
_READER_WRITES = """
select cast(c.relname as text) as table_name from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace and n.nspname = 'atlas'
where c.relkind in ('r', 'p') and exists (select from pg_catalog.pg_roles where rolname = 'atlas_readonly')
  and (pg_catalog.has_table_privilege('atlas_readonly', c.oid, 'insert')
       or pg_catalog.has_any_column_privilege('atlas_readonly', c.oid, 'update')
       or pg_catalog.has_table_privilege('atlas_readonly', c.oid, 'delete'))
order by 1
"""
_CONNECTIONS = """
select count(*) filter (where backend_type = 'client backend') as used,
       cast(pg_catalog.current_setting('max_connections') as integer)
       - cast(pg_catalog.current_setting('superuser_reserved_connections') as integer) as allowed
from pg_catalog.pg_stat_activity
"""
# Who may not see other roles' sessions is shown them without a state.
_SESSIONS = """
select coalesce(application_name, '') as application, state is null as hidden,
       coalesce(extract(epoch from pg_catalog.clock_timestamp() - xact_start), 0) as open_s,
       case when state like 'idle in transaction%' then
           coalesce(extract(epoch from pg_catalog.clock_timestamp() - state_change), 0) else 0 end as idle_s,
       case when wait_event_type = 'Lock' then
           coalesce(extract(epoch from pg_catalog.clock_timestamp() - query_start), 0) else 0 end as waited_s
from pg_catalog.pg_stat_activity
where backend_type = 'client backend' and datname = pg_catalog.current_database() and pid <> pg_catalog.pg_backend_pid()
"""


async def database(deployment: Deployment) -> str:
    """A server of a version that Atlas works with answers, and takes writes."""
    (row,) = await deployment.rows(
        "select pg_catalog.current_setting('server_version') as version, pg_catalog.pg_is_in_recovery() as replica,"
        " pg_catalog.current_setting('server_encoding') as encoding,"
        " exists (select from pg_catalog.pg_db_role_setting s, pg_catalog.unnest(s.setconfig) one"
        "         where one = 'default_transaction_read_only=on') as read_only"
    )
    problems = []
    if int(str(row["version"]).partition(".")[0].split(maxsplit=1)[0]) < _OLDEST_SERVER:
        problems.append(f"PostgreSQL {row['version']} is older than {_OLDEST_SERVER}")
    if row["replica"]:
        problems.append("the address leads to a replica, which takes no writes")
    if row["read_only"]:
        problems.append("it was set to read only (default_transaction_read_only)")
    if row["encoding"] != "UTF8":
        problems.append(f"its encoding is {row['encoding']}")
    problems += [
        f"the functions' login may not {lacks['privilege']} {lacks['table_name']}: a restore's `revoke`, or one by hand"
        for lacks in await deployment.rows(_CANNOT_WRITE, written=list(_WRITTEN))
    ]
    insist(problems)
    return f"PostgreSQL {str(row['version']).split(maxsplit=1)[0]}"


async def schema(deployment: Deployment) -> str:
    """Every migration of this checkout was applied, as it is here; and the database is of this environment."""
    applied = {
        int(row["number"]): str(row["sha256"])
        for row in await deployment.rows("select number, sha256 from schema_migrations")
    }
    problems = []
    files = {int(path.name[:4]): path for path in sorted(_MIGRATIONS.glob("[0-9][0-9][0-9][0-9]_*.sql"))}
    for number, path in files.items():
        if number not in applied:
            problems.append(f"{path.name} is not applied")
        elif applied[number] != hashlib.sha256(path.read_text().encode()).hexdigest():
            problems.append(f"{path.name} was applied with another content than this checkout's")
    (held,) = await deployment.rows("select environment from deployment")
    if held["environment"] != deployment.name:
        problems.append(f"the database belongs to environment {held['environment']}")
    insist(problems)
    newer = set(applied) - set(files)
    return f"newest {max(applied)}" + (", newer than this checkout" if newer else "")


async def _functions_login(deployment: Deployment) -> str:
    """The user in the functions' own address; "" when there is none that can be read, which is another check's matter."""
    try:
        return DatabaseAddress.parse(await deployment.setting("DATABASE_URL")).user
    except BadAddress:
        return ""


async def roles(deployment: Deployment) -> str:
    """What functions log in as can add to the books, and can't change them; what reads can't write."""
    (there,) = await deployment.rows(
        "select count(*) as roles from pg_catalog.pg_roles where rolname in ('atlas_app', 'atlas_readonly')"
    )
    if there["roles"] != 2:  # noqa: PLR2004 -- the two that are named
        raise WrongError(
            "the roles atlas_app and atlas_readonly are not there: functions work as the owner of everything"
        )
    lists = {"only_grow": list(ONLY_GROW), "never_deleted": list(NEVER_DELETED)}
    login = await _functions_login(deployment)
    problems = [
        f"functions log in as {login}, which owns the tables: it may change and delete everything"
        for _ in await deployment.rows(_OWNS, login=login)
    ]
    problems += [
        f"{row['login']} may {row['privilege']} {row['table_name']}" for row in await deployment.rows(_ROLES, **lists)
    ]
    problems += [
        f"{row['login']} may make roles or databases, or is a superuser" for row in await deployment.rows(_MIGHTY)
    ]
    problems += [f"atlas_readonly may write {row['table_name']}" for row in await deployment.rows(_READER_WRITES)]
    insist(problems)
    return ""


async def connections(deployment: Deployment) -> str:
    """There are connections left."""
    (row,) = await deployment.rows(_CONNECTIONS)
    if row["used"] > MOST_CONNECTIONS * row["allowed"]:
        raise WrongError(f"{row['used']} of {row['allowed']} connections are in use")
    return f"{row['used']} of {row['allowed']} in use"


async def timeouts(deployment: Deployment) -> str:
    """No session holds a transaction open, or waits for a lock, beyond what the functions' timeouts allow."""
    rows = await deployment.rows(_SESSIONS)
    if rows and all(row["hidden"] for row in rows):
        raise NotCheckedError("this login may not see other sessions; it lacks pg_read_all_stats")
    problems = []
    for row in rows:
        who = row["application"] or "a session without a name"
        if row["idle_s"] > LONGEST_IDLE_S:
            problems.append(f"{who} has been idle in a transaction for {round(row['idle_s'])} s")
        elif row["open_s"] > LONGEST_TRANSACTION_S:
            problems.append(f"{who} has had a transaction open for {round(row['open_s'])} s")
        if row["waited_s"] > LONGEST_LOCK_WAIT_S:
            problems.append(f"{who} has been waiting for a lock for {round(row['waited_s'])} s")
    insist(problems)
    return f"{len(rows)} sessions"


async def disk(deployment: Deployment) -> str:
    """There is space on the disk."""
    if deployment.cloud is not None:
        used = await deployment.of_cloud(lambda cloud: cloud.disk_used(), "disk")
        if used is None:
            raise NotCheckedError("Cloud Monitoring has no figure of the last minutes")
    elif deployment.folder:
        usage = shutil.disk_usage(deployment.folder)
        used = 1 - usage.free / usage.total
    else:
        raise NotCheckedError("where its files are is not known here")
    if used > FULLEST_DISK:
        raise WrongError(f"the disk is {used:.0%} full")
    return f"{used:.0%} full"


CHECKS = (
    Check(
        name="database",
        part="schema",
        subject=_SUBJECT,
        asks="the database answers and takes writes",
        customers="nothing works: updates wait at Telegram, payments at their providers.",
        mend="Follow the page from its top.",
        page="runbooks/database-unavailable.md",
        look=database,
    ),
    Check(
        name="schema",
        part="schema",
        subject=_SUBJECT,
        asks="every migration of this checkout is applied",
        customers="functions of this release answer 503 until it is.",
        mend="`make deploy` migrates before it moves traffic.",
        page="runbooks/migration-failed.md",
        look=schema,
        after=("database",),
    ),
    Check(
        name="database-roles",
        part="schema",
        subject=_SUBJECT,
        asks="the functions' logins can't change the books",
        customers="none at first; a defect or a thief could rewrite who paid for what.",
        mend="Take the right away; migrating again restores what roles.sql says.",
        page="doctor.md#a-login-may-too-much",
        look=roles,
        after=("schema",),
    ),
    Check(
        name="database-connections",
        part="schema",
        subject=_SUBJECT,
        asks="connections are left",
        customers="answers fail with 503 and come again later.",
        mend="Find out who has them; none of the functions takes more than its row says.",
        page="runbooks/database-connections.md",
        look=connections,
        after=("database",),
    ),
    Check(
        name="database-timeouts",
        part="schema",
        subject=_SUBJECT,
        asks="no transaction stays open and none waits long for a lock",
        customers="those whose rows are held wait, then fail and are tried again.",
        mend="End that session (pg_terminate_backend) once you know whose it is.",
        page="runbooks/database-connections.md",
        look=timeouts,
        after=("database",),
    ),
    Check(
        name="database-disk",
        part="schema",
        subject=_SUBJECT,
        asks="the database's disk has space left",
        customers="when it is full nothing can be written: everything stops.",
        mend="Make the disk larger; see what grows.",
        page="runbooks/database-resources.md",
        look=disk,
    ),
)
