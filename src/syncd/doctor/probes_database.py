"""Probes of the database: what its role may do, how it is set, how much of it is left."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from syncd.doctor.facts import DatabaseFact, Facts, Subject
from syncd.doctor.model import Answer, Probe, failed, later, passed, warned

OLDEST_VERSION = 130_000
SPARE_CONNECTIONS = 3


def _of(look: Callable[[DatabaseFact], Answer]) -> Probe:
    def probe(facts: Facts, subjects: Sequence[Subject]) -> Answer:
        if facts.database is None:
            # What the daemon says of it is told by /ready; that this command cannot look is no fault of the database.
            known = look is _version and not (facts.daemon is not None and facts.daemon.ready)
            return (failed if known else later)(facts.no_database, facts.see_database)
        return look(facts.database)

    return probe


def _version(found: DatabaseFact) -> Answer:
    told = f"PostgreSQL {found.version // 10_000}.{found.version % 10_000}"
    if found.version < OLDEST_VERSION:
        return failed(told, "PostgreSQL 13 or newer")
    if found.read_only:
        return failed(f"{told}, but it takes no writes (a standby?)", "let database.url name the primary")
    return passed(f"{told} at {found.name}, takes writes")


version = _of(_version)


@_of
def privileges(found: DatabaseFact) -> Answer:
    if found.schema_there and not found.owns_schema:
        return failed("schema syncd belongs to another role", "ALTER SCHEMA syncd OWNER TO role-of-database.url")
    if not found.schema_there and not found.can_create:
        return failed("its role may create no schema", "GRANT CREATE ON DATABASE name TO role")
    if found.barred:
        others = f" and {len(found.barred) - 1} more" if len(found.barred) > 1 else ""
        return failed(
            f"{found.barred[0]}{others} of schema syncd belong to another role: nothing can be written or migrated there",
            "psql as their owner: ALTER TABLE syncd.NAME OWNER TO role-of-database.url, for each",
        )
    lacking = [
        name
        for name, held in (("TEMP", found.temp), ("LISTEN", found.listen), ("advisory locks", found.advisory))
        if not held
    ]
    if lacking:
        return failed(
            f"does not work: {', '.join(lacking)}", "GRANT TEMP ON DATABASE name TO role; no pooler in between"
        )
    return passed(f"tried: {'owns' if found.schema_there else 'may create'} schema syncd, TEMP, LISTEN, advisory locks")


@_of
def schema(found: DatabaseFact) -> Answer:
    if not found.schema_there:
        return failed("the database is empty", "syncd migrate")
    if not found.schema_read:
        return later("its role may not read what is applied", "see Privileges; then: syncd migrate --check")
    if found.pending:
        return warned(f"{len(found.pending)} migrations to apply: {found.pending[0]}", "syncd migrate")
    return passed(f"schema {found.applied:04}, nothing to apply")


@_of
def connections(found: DatabaseFact) -> Answer:
    left = found.max_connections - found.used_connections
    told = f"{left} of {found.max_connections} free, {found.needs_connections} wanted by one syncd"
    if left < SPARE_CONNECTIONS:
        return failed(told, "raise max_connections, or lower database.pool_size")
    if found.max_connections < found.needs_connections + SPARE_CONNECTIONS:
        return failed(told, "raise max_connections, or lower database.pool_size")
    return passed(told)


@_of
def settings(found: DatabaseFact) -> Answer:
    if found.isolation != "read committed":
        return failed(
            f"default_transaction_isolation is {found.isolation}",
            "ALTER ROLE role SET default_transaction_isolation = 'read committed'",
        )
    return passed(f"isolation {found.isolation}; its own time zone {found.timezone} (syncd's sessions: UTC)")
