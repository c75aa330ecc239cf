"""Probes of the way in and the way back: artifacts, migrations, the switch, containers, the service's limits."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta

from syncd.doctor.facts import Facts, Subject
from syncd.doctor.model import Answer, beside, failed, later, manual, passed, together, warned

VERIFY_DAYS = 90
UPGRADES = "docs/upgrade.md"
_SETTING = re.compile(r"^(MemoryMax|MemoryHigh|TasksMax|CPUQuota|CPUWeight|LimitNOFILE)=(\S+)", re.MULTILINE)


def previous_artifact(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    """The release before this one, ready to be put back."""
    if facts.machine.previous:
        return manual(
            f"beside this one lie {', '.join(facts.machine.previous[:3])}: is one the release before?",
            f"{facts.machine.previous[0]}/bin/syncd --version",
        )
    return manual(
        "is the package, lock file or image of the release before this one at hand?",
        f"syncd --version before each upgrade, and keep what installed it: {UPGRADES}",
    )


def migrations(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    """Each migration says whether the previous release still runs on it."""
    if facts.database is None:
        return later(facts.no_database, facts.see_database)
    stop = [one for one in facts.database.pending if "stop" in one]
    if stop:
        return warned(f"{stop[0]}", f"stop every instance first, then: syncd migrate ({UPGRADES})")
    if facts.database.pending:
        first = f"{len(facts.database.pending)} to apply"
        return passed(f"{first}, the previous release runs on each or there is none")
    return passed(f"schema {facts.database.applied:04} is this release's; each migration says who still runs on it")


def switch(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    """On, and how to switch it off without a deployment."""
    names = [one.name for one in subjects]
    first = names[0]
    if facts.daemon is None:
        return later(f"syncd pause {first} --reason TEXT works on a running daemon: {facts.no_daemon}", "syncd run")
    missing = [name for name in names if facts.daemon.integration(name) is None]
    if missing:
        return failed(f"the running daemon does not know {missing[0]}", "syncd reload --wait")
    return passed(f"built in: syncd pause {first} --reason TEXT, at once and over restarts; {len(names)} under it")


def documented(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    pages = len(facts.runbooks)
    return manual(
        f"how to go back, and what to watch: {UPGRADES} and {pages} runbook pages; whom to notify is yours",
        "write into your team's page: who is told, by whom, where",
    )


def rollback_tested(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    return manual(
        "has going back been tried once, with this database?", f"{UPGRADES}: going back; syncd migrate --check"
    )


def image(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    if facts.machine.container:
        return manual("this is a container: is its image built in stages?", "docker history IMAGE")
    return beside("no container: installed on the machine itself")


def unprivileged(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    """Neither the service nor the container runs as root."""
    unit, running = facts.machine.unit, facts.machine.daemon_uid
    if running is not None:
        if running == 0:
            do = "USER 10001 in the container file" if facts.machine.container else "run it as a user of its own"
            return failed("the running daemon is root's", do)
        return passed(f"the daemon runs as {facts.machine.daemon_user} (uid {running})")
    if unit.present:
        if unit.user in {"", "root"}:
            return failed("the service runs as root", "systemctl edit syncd: [Service] User=syncd")
        return passed(f"the service runs as {unit.user}")
    if facts.machine.uid == 0:
        if facts.machine.container:
            return failed("this container runs as root", "USER 10001 in the container file")
        return later("no service is installed here, and this command runs as root", "sudo -u syncd syncd doctor")
    if facts.machine.container:
        return passed(f"the container runs as {facts.machine.user} (uid {facts.machine.uid})")
    return later("no daemon runs and no service is installed: nothing says who will run it", "syncd run")


def resource_limits(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    """Memory, and processor time: one that runs wild must not take all of it from what lives beside it."""
    unit = facts.machine.unit
    if unit.present:
        found = dict(_SETTING.findall(unit.text))
        for key, unset in (("MemoryMax", "infinity"), ("CPUQuotaPerSecUSec", "infinity"), ("CPUWeight", "[not set]")):
            if unit.properties.get(key, unset) != unset:
                found[key] = unit.properties[key]
        if found.get("MemoryMax", "infinity") == "infinity":
            return failed("the unit sets no MemoryMax", "systemctl edit syncd: [Service] MemoryMax=1G")
        told = ", ".join(f"{key} {value}" for key, value in sorted(found.items()))
        if not any(key.startswith("CPU") for key in found):
            return warned(f"{told}; nothing bounds its processor time", "systemctl edit syncd: [Service] CPUQuota=200%")
        return passed(told)
    if facts.machine.memory_max is not None:
        told = f"at most {facts.machine.memory_max / 1024**2:,.0f} MiB"
        if facts.machine.processors is None:
            return warned(f"{told}; nothing bounds its processor time", "give the container --cpus 2")
        return passed(f"{told} and {facts.machine.processors:g} processors by the control group")
    return later(
        "neither a unit nor a control group limits it here", "install systemd/syncd.service; or docker run --memory 1g"
    )


def always_one(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    """Somebody takes webhooks at any time."""
    unit = facts.machine.unit
    if unit.present:
        restart = unit.properties.get("Restart") or ("always" if "Restart=always" in unit.text else "")
        if restart != "always":
            return failed(
                f"the unit's Restart is {restart or 'unset'}", "systemctl edit syncd: [Service] Restart=always"
            )
    if facts.daemon is None:
        return later(facts.no_daemon, "systemctl enable --now syncd")
    others = len(facts.database.instances) if facts.database is not None else 1
    return passed(f"one takes webhooks now ({max(others, 1)} {'instance' if others < 2 else 'instances'} with leases)")


def verified(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    """`syncd verify` was run, and all of it went well."""
    if facts.database is None:
        return later(facts.no_database, facts.see_database)

    def look(one: Subject) -> Answer:
        told = facts.database.verified.get(one.name) if facts.database is not None else None
        if told is None:
            return failed("it was never run", f"syncd verify {one.name}")
        at, do = told.at, f"syncd verify {one.name}"
        if not told.ok:
            return failed(f"it failed on {at:%Y-%m-%d %H:%M}Z", do)
        if told.mode == "read-only" and one.driver.spec.verify is not None:
            return warned(f"on {at:%Y-%m-%d %H:%M}Z it was --read-only: no test record was made", do)
        if facts.now - at > timedelta(days=VERIFY_DAYS):
            return warned(f"it is {(facts.now - at).days} days ago", do)
        running = str(facts.daemon.status.get("version", "")) if facts.daemon is not None else ""
        if running and told.version and running != told.version:
            return warned(f"the last was of release {told.version}, and {running} runs now", do)
        what = "all of it" if told.mode != "read-only" else "all that its driver can (it makes no record)"
        return passed(f"{what} went well on {at:%Y-%m-%d %H:%M}Z")

    return together([(one.name, look(one)) for one in subjects])
