"""Probes of the machine: clock, names, certificates, descriptors, exposure, the unit, what has to be backed up."""

from __future__ import annotations

from collections.abc import Sequence

from syncd.doctor.facts import Facts, HostFact, Subject
from syncd.doctor.model import Answer, Verdict, beside, failed, later, manual, passed, together, warned

SKEW_WARN_SECONDS = 2.0
SKEW_FAIL_SECONDS = 60.0
"""A signed time may be five minutes off, and half of that may be the partner's."""
TLS_WARN_DAYS = 21.0
TLS_FAIL_DAYS = 3.0
FEWEST_DESCRIPTORS = 1024
LEAST_FREE_BYTES = 1024**3
OURS = frozenset({"server.public_url"})


def _skew(seconds: float, whose: str) -> Answer:
    told = f"{abs(seconds):.1f} s {'behind' if seconds > 0 else 'ahead of'} {whose}"
    if abs(seconds) >= SKEW_FAIL_SECONDS:
        return failed(f"our clock is {told}", "timedatectl set-ntp true")
    if abs(seconds) >= SKEW_WARN_SECONDS:
        return warned(f"our clock is {told}", "timedatectl set-ntp true")
    return passed(f"our clock is {told}")


def clock_of_database(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    if facts.database is None:
        return later(facts.no_database, facts.see_database)
    found = _skew(facts.database.skew_seconds, "the database's")
    if facts.machine.synchronized is False and found.verdict is Verdict.PASS:
        return warned(f"{found.detail}, but no time server keeps it", "timedatectl set-ntp true")
    return found


def clock_of_partners(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    """By the Date of their latest answers, as the running daemon saw them."""
    if facts.daemon is None:
        return later(facts.no_daemon, facts.see_daemon)
    found = []
    for one in subjects:
        told = facts.daemon.integration(one.name) or {}
        skew = told.get("clock_skew_seconds")
        if skew is None:
            found.append((one.name, later("no answer had a Date yet", f"syncd credential test {one.name}")))
        else:
            # A Date has whole seconds, and the answer took a while.
            found.append((one.name, _skew(0.0 if abs(skew) <= SKEW_WARN_SECONDS else skew, "its partner's")))
    return together(found)


def instances(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    """Leases are by the database's clock, so several instances may differ among themselves; each is held to it."""
    if facts.database is None:
        return later(facts.no_database, facts.see_database)
    count = len(facts.database.instances)
    if not count:
        return later("no instance holds a lease now", "syncd run")
    if count == 1:
        return passed("one instance holds all leases, which go by the database's clock")
    return manual(
        f"{count} instances hold leases: {', '.join(facts.database.instances[:3])}", "run syncd doctor on each"
    )


def _hosts(facts: Facts, *, public: bool) -> list[HostFact]:
    found = facts.hosts or {}
    return [
        host
        for host in found.values()
        if any(why in OURS or why.endswith(".webhook.url") for why in host.why) is public
    ]


def names(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    if not facts.hosts:
        return beside("the configuration names no host")
    lost = [host for host in facts.hosts.values() if host.resolve_error]
    if lost:
        why = f"{lost[0].host} ({', '.join(lost[0].why[:2])}): {lost[0].resolve_error}"
        return failed(why, f"getent hosts {lost[0].host}; check base_url and /etc/resolv.conf")
    count = sum(len(host.addresses) for host in facts.hosts.values())
    return passed(f"{len(facts.hosts)} {'host' if len(facts.hosts) == 1 else 'hosts'} found, {count} addresses")


def certificates(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    return _certificates(_hosts(facts, public=False), "no partner is called by https")


def public_certificate(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    none = (
        "server.public_url is not set" if facts.config.server.public_url is None else "server.public_url is not https"
    )
    return _certificates(_hosts(facts, public=True), none)


def _certificates(hosts: Sequence[HostFact], none: str) -> Answer:
    secure = [host for host in hosts if host.tls]
    if not secure:
        return beside(none)
    return together([(host.host, certificate(host)) for host in secure])


def certificate(host: HostFact) -> Answer:
    if host.resolve_error:
        return later(host.resolve_error, f"getent hosts {host.host}")
    if host.connect_error or host.certificate is None:
        return later(f"port {host.port}: {host.connect_error}", f"openssl s_client -connect {host.host}:{host.port}")
    found = host.certificate
    show = f"openssl s_client -connect {host.host}:{host.port} -servername {host.host}"
    if found.days_left is not None and found.days_left <= 0:
        return failed(f"expired {-found.days_left:.0f} days ago", show)
    if not found.trusted:
        return failed(f"not trusted: {found.error}", show)
    if found.days_left is None:
        return later("it did not show its dates", show)
    if found.days_left < TLS_FAIL_DAYS:
        return failed(f"{found.days_left:.1f} days left", "renew it now; a partner's: its status page")
    if found.days_left < TLS_WARN_DAYS:
        return warned(f"{found.days_left:.0f} days left", "renew it; a partner's: tell them")
    return passed(f"trusted, {found.days_left:.0f} days left")


def descriptors(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    """One for each connection: clients, pools, partners, files."""
    server, pool = facts.config.server, facts.config.database.pool_size
    wanted = max(FEWEST_DESCRIPTORS, 2 * server.max_connections + pool + 32 * len(facts.subjects) + 100)
    told = f"{facts.machine.descriptors:,} for {facts.machine.descriptors_of}, about {wanted:,} wanted"
    if facts.machine.descriptors < wanted:
        return failed(told, "systemctl edit syncd: [Service] LimitNOFILE=8192")
    if facts.machine.descriptors_of != "the daemon":
        return later(f"{told}; the daemon's own cannot be seen", "start it, then again: syncd doctor")
    return passed(told)


def admin_exposed(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    server = facts.config.server
    if server.admin.path is not None:
        return passed(f"a Unix socket: {server.admin}")
    if server.admin.private:
        return passed(f"loopback only: {server.admin}")
    if server.admin_token is None:
        return failed(f"{server.admin} without a token", "server: {admin: 127.0.0.1:8081}")
    return warned(f"{server.admin} is open to other machines, with a token", "server: {admin: 127.0.0.1:8081}")


def public_exposed(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    """/health and /metrics name integrations: a proxy should pass /webhooks/ alone."""
    listen = facts.config.server.listen
    if listen.path is not None or listen.private:
        return passed(f"server.listen is {listen}: only a proxy here reaches it")
    return manual(
        f"server.listen is {listen}: is only /webhooks/ passed on from outside?", "curl -i https://HOST/metrics"
    )


def public_url(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    url = facts.config.server.public_url
    hooked = [one for one in facts.subjects if one.hooked]
    if url is None:
        if hooked and any(not one.webhook_url for one in hooked):
            return failed(
                f"{hooked[0].name} has webhooks, and nothing says where", "server: {public_url: https://HOST}"
            )
        return beside("no deliveries come by it")
    if not url.startswith("https://"):
        return failed(f"{url} is not https", "server: {public_url: https://HOST}")
    return passed(url)


def sealing_key(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    mode, path = facts.machine.key_mode, facts.machine.key_file
    if mode is not None and mode & 0o077:
        return failed(f"{path} has mode {mode:04o}: others may read it, and syncd refuses it", f"chmod 600 {path}")
    return manual(
        f"{facts.machine.key_kept}: is there a copy elsewhere? Without it stored tokens cannot be opened",
        "copy it to where your other keys are kept, apart from the database's backup",
    )


def backup(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    if facts.database is None:
        return later(facts.no_database, facts.see_database)
    return manual(
        f"{facts.database.name}, {_size(facts.database.size_bytes)}: is it backed up, was one restored?",
        "pg_dump -n syncd",
    )


def retention(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    kept = facts.config.retention
    unfinished = (facts.daemon.status.get("retention") or {}).get("unfinished") if facts.daemon is not None else None
    if unfinished:
        table, why = next(iter(unfinished.items()))
        return failed(f"the last prune of {table} did not end: {why}", "syncd runbook old-rows-stay")
    days = {name: getattr(kept, name) / 86_400 for name in ("changes", "inbox", "inbox_payloads", "tombstones")}
    return passed("built in: " + ", ".join(f"{name} {value:g}d" for name, value in days.items()))


def unit(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    """The unit is there, and is this release's."""
    found = facts.machine.unit
    if not found.systemd:
        return beside("no systemd runs here")
    if not found.present:
        return failed("no unit syncd.service is installed", "install -m 644 systemd/syncd.service /etc/systemd/system/")
    if found.properties.get("NeedDaemonReload") == "yes":
        return failed("systemd has not read the unit as it is now", "systemctl daemon-reload")
    if not found.shipped:
        return passed(f"{found.path}; this release's own is not at hand to compare")
    if _settings(found.text) != _settings(found.shipped):
        return warned(
            f"{found.path} is not this release's", f"diff {found.path} systemd/syncd.service; yours belong to a drop-in"
        )
    return passed(f"{found.path} is this release's")


def _settings(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith(("#", ";"))]


def own_database(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    if facts.machine.embedded and facts.config.mode == "production":
        return failed(
            "syncd keeps its own PostgreSQL, which nobody backs up", "database: {url: {env: SYNCD_DATABASE_URL}}"
        )
    if facts.machine.embedded:
        return passed("embedded, in mode development")
    if facts.config.database.url is None:
        return failed("no database is configured", "database: {url: {env: SYNCD_DATABASE_URL}}")
    return passed("database.url names one, run apart from syncd")


def disk(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    """Of the state directory, and of the database's where it lies on this machine."""
    found = {"state directory": facts.machine.state_free_bytes}
    if facts.database is not None:
        found["database"] = facts.database.local_free_bytes
    known = {name: free for name, free in found.items() if free is not None}
    if not known:
        return manual("neither disk can be seen from here", "df -h where PostgreSQL keeps its data")
    low = {name: free for name, free in known.items() if free < LEAST_FREE_BYTES}
    told = ", ".join(f"{name} {_size(free)} free" for name, free in known.items())
    if low:
        return failed(told, "syncd runbook disk-full")
    if "database" not in known:
        return manual(f"{told}; the database's disk cannot be seen from here", "df -h where PostgreSQL keeps its data")
    return passed(told)


def _size(count: float) -> str:
    for unit_name in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:,.0f} {unit_name}"
        count /= 1024
    return f"{count:,.1f} TiB"


def configuration(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    """What `syncd check` warns of."""
    if facts.problems:
        first = facts.problems[0]
        more = f"; and {len(facts.problems) - 1} more" if len(facts.problems) > 1 else ""
        return warned(f"{first.message}{more}", "syncd check")
    return passed(f"syncd check has nothing to say of {len(facts.config.partners)} partners' files")
