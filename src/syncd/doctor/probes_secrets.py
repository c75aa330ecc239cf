"""Probes of credentials: where they are kept, who may read them, whether a repository or a log could show one."""

from __future__ import annotations

import math
from collections.abc import Sequence

from syncd.doctor.facts import Facts, SecretFact, Subject
from syncd.doctor.model import Answer, beside, failed, later, manual, passed, together, warned
from syncd.wording import lasting

DAY = 86_400.0
MOST_NAMED = 5
HANDED_OVER = "/run/credentials/"
"""Where systemd shows a service what `LoadCredential=` names."""
LONGEST_UNSEEN_SECONDS = DAY
ROTATION_PAGES = ("auth-failed", "credential-old", "credential-expires")


def credentials_kept(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    """Credentials of partners lie where only the service reads them."""
    return _kept(facts, subjects, webhook=False)


def webhook_secrets_kept(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    """The same of the secrets deliveries are verified with."""
    hooked = [one for one in subjects if one.hooked]
    if not hooked:
        return beside("no deliveries come here: no integration has `webhook:`")
    return _kept(facts, hooked, webhook=True)


def _kept(facts: Facts, subjects: Sequence[Subject], *, webhook: bool) -> Answer:
    found = []
    for one in subjects:
        secrets = facts.secrets_of([one.name], webhook=webhook)
        if not secrets:
            none = "no secret is configured" if webhook else "its file names no credential"
            found.append((one.name, beside(none)))
            continue
        found += [(one.name, _place(facts, secret)) for secret in secrets]
    return together(found)


def _place(facts: Facts, secret: SecretFact) -> Answer:
    name = secret.place.partition(".")[2]
    if secret.kind == "literal":
        return failed(
            f"{name} stands in the YAML itself", f"{name}: {{file: NAME}} and the value in secrets.directory, mode 600"
        )
    if secret.error:
        return failed(secret.error, secret.hint)
    if secret.kind == "env":
        variable = secret.text.strip("{}").removeprefix("env: ")
        if variable in facts.environment:
            holders = [one.path for one in facts.env_files if variable in one.names]
            return failed(f"{variable} is set by {holders[0]}", f"keep it in a file of its own: {name}: {{file: NAME}}")
        return manual(
            f"{name} comes from the environment ({variable})",
            f"is it put there by a secrets manager? Else: {name}: {{file: NAME}}",
        )
    mode = "" if secret.mode is None else f", mode {secret.mode:04o}"
    owner = f", {secret.owner}'s" if secret.owner else ""
    return passed(f"{secret.kind} of its own{mode}{owner}")


def resolved(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    """Every secret that is named can be read."""
    if not facts.secrets:
        return beside("the configuration names no secret")
    wrong = [one for one in facts.secrets if one.error]
    if wrong:
        more = f"; and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        return failed(f"{wrong[0].place}: {wrong[0].error}{more}", wrong[0].hint)
    files = sum(one.kind == "file" for one in facts.secrets)
    return passed(f"{len(facts.secrets)} resolved {facts.seen_by}, {files} from files that nobody else may read")


def readable_by_service(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    """Files are refused where others may read them, so the service's user must own each."""
    files = [one for one in facts.secrets if one.kind == "file" and one.owner]
    if not files:
        return beside("no secret is kept in a file")
    service = facts.machine.unit.user
    if service:
        strange = [one for one in files if one.owner != service]
        if strange:
            path = strange[0].path
            return failed(
                f"{path} belongs to {strange[0].owner}, the service runs as {service}", f"chown {service} {path}"
            )
        return passed(f"{len(files)} belong to {service}, who runs the service")
    me = facts.machine.user
    strange = [one for one in files if one.owner != me]
    if strange:
        return warned(
            f"{strange[0].path} belongs to {strange[0].owner}; this command runs as {me}",
            "run doctor as the service's user: sudo -u syncd syncd doctor",
        )
    return passed(f"{len(files)} belong to {me}, who runs this command; no service is installed here")


def literals(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    """No secret stands in YAML."""
    found = [one.place for one in facts.secrets if one.kind == "literal"]
    if found:
        return failed(f"in the YAML itself: {', '.join(found[:3])}", "name a file in its place: {file: NAME}")
    return passed(f"{len(facts.secrets)} references, none a literal")


def rotating_credentials(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    """systemd reads LoadCredential= once: what rotates and comes that way never arrives by a reload."""
    found = [one.place for one in facts.secrets if one.integration and _handed_over(one)]
    if found:
        return failed(
            f"{', '.join(found[:3])}: systemd hands it over at a start, and not again on reload",
            "keep it in secrets.directory: {file: NAME}; {credential: } is for secrets.key alone",
        )
    own = [one.text for one in facts.secrets if one.kind == "credential"]
    return passed("no partner's secret comes as a systemd credential" + (f"; only {own[0]}" if own else ""))


def _handed_over(secret: SecretFact) -> bool:
    """By `{credential: }`, or by the path under which systemd shows the same."""
    return secret.kind == "credential" or secret.path.startswith(HANDED_OVER)


def one_token_each(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    """No two integrations have the same: one that leaks, or is rotated, takes the other with it. Parts may be shared, such as
    the client of an application that several accounts have let in."""
    marks = {
        one.name: frozenset(s.mark for s in facts.secrets_of([one.name], webhook=False) if s.mark) for one in subjects
    }
    seen: dict[frozenset[str], list[str]] = {}
    for name, mine in marks.items():
        if mine:
            seen.setdefault(mine, []).append(name)
    shared = [found for found in seen.values() if len(found) > 1]
    if shared:
        more = f" and {len(shared[0]) - MOST_NAMED} more" if len(shared[0]) > MOST_NAMED else ""
        return failed(
            f"one credential for {', '.join(shared[0][:MOST_NAMED])}{more}", "give each one of its own at the partner"
        )
    if not seen:
        return later("no credential could be read to be compared", "syncd check --env")
    if len(seen) == 1:
        return passed("only one integration has credentials here")
    return passed(f"those of {len(seen)} integrations compared, no two have the same")


def separate_tokens(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    """What is here can be compared; what lies on other machines only a person knows."""
    here = one_token_each(facts, subjects)
    if here.verdict == "fail":
        return here
    return manual(
        f"here: {here.detail}", "compare with staging: syncd credential list shows a short hash of each on both"
    )


def minimal_scopes(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    """All that is needed and nothing beyond, where the partner tells; elsewhere it is written at the partner."""

    def look(one: Subject) -> Answer:
        told = facts.daemon.scopes.get(one.name) if facts.daemon is not None else None
        ask = f"syncd credential list {one.name} --scopes"
        if told is None or told["held"] is None:
            title = one.driver.spec.title or one.kind
            return manual(f"look at {title}: may it do no more than its README asks for?", ask)
        if told["missing"]:
            return failed(f"it lacks {', '.join(told['missing'])}", "grant it at the partner; then: " + ask)
        beyond = [scope for scope in told["held"] if scope not in told["needed"]]
        if beyond:
            return warned(f"beyond what is needed it may {', '.join(beyond[:4])}{' …' if len(beyond) > 4 else ''}", ask)
        return passed(f"by {told['told_by']}: {', '.join(told['held'])}, all of it needed")

    return together([(one.name, look(one)) for one in subjects])


def kept_out_of_logs(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    """Every secret of this installation is put through the redaction that all log lines and errors pass."""
    names = {one.name for one in subjects}
    mine = [one for one in facts.secrets if one.integration in names and one.mark]
    if not mine:
        return later("no secret could be read to be tried", "syncd check --env")
    leaky = [one.place for one in mine if one.leaks]
    if leaky:
        return failed(f"{', '.join(leaky[:3])} would be shown: too short to be told from words", "use a longer secret")
    return passed(f"built in: {len(mine)} put through the log's redaction, none came out")


def rotation_documented(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    pages = [page for page in ROTATION_PAGES if page in facts.runbooks]
    if not pages:
        return failed("this release has no page on replacing a credential", "report it")
    return passed(f"built in: syncd runbook {pages[0]}; syncd credential rotate {subjects[0].name} < new.txt")


def rotation_schedule(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    """The daemon knows the age of what lies in files, and reminds."""
    rows = facts.daemon.metrics.get("syncd_credential_age_seconds", ()) if facts.daemon is not None else ()

    def look(one: Subject) -> Answer:
        after = facts.config.remind_after(one.name)
        ages = {said["credential"]: seconds for said, seconds in rows if said.get("integration") == one.name}
        if not math.isfinite(after):
            return manual("no reminder is wanted (remind_after: off)", "write down who rotates it, and when")
        if not ages:
            return manual(
                f"a reminder comes after {after / DAY:g} days, where its age is known: it is not",
                f"syncd credential list {one.name}; write down who rotates it, and when",
            )
        name = max(ages, key=lambda each: ages[each])
        if ages[name] > after:
            return failed(
                f"its {name} is {ages[name] / DAY:.0f} days old", f"syncd credential rotate {one.name} < new.txt"
            )
        return passed(f"built in: a reminder after {after / DAY:g} days; its {name} is {ages[name] / DAY:.0f} days old")

    return together([(one.name, look(one)) for one in subjects])


def authenticated(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    """The credential works: by a call made for this, or by the daemon's last one."""
    return together([(one.name, _authenticated(facts, one)) for one in subjects])


def _authenticated(facts: Facts, one: Subject) -> Answer:
    if one.name in facts.live:
        told = facts.live[one.name]
        if told.ok:
            return passed(told.detail)
        return failed(told.detail, told.do) if told.refused else later(told.detail, told.do)
    if facts.daemon is None:
        return later(facts.no_daemon, f"syncd doctor {one.name} --live makes one call")
    state = facts.daemon.integration(one.name)
    if state is None:
        return failed("the running daemon does not know it", "syncd reload --wait")
    told_why = state.get("explanation") or {}
    if state["state"] == "auth_required":
        return failed(str(told_why.get("reason", "the credential is refused")), str(told_why.get("action", "")))
    if state["latency_ms"] is None:
        return later("the daemon has not called it yet", f"syncd credential test {one.name}")
    if state["state"] == "down":
        return later(str(told_why.get("reason", "down")), str(told_why.get("action", "")))
    if state["state"] == "paused":
        return later("it is paused: nothing has tried its credential since", f"syncd credential test {one.name}")
    let_in = facts.daemon.summed("syncd_last_authenticated_timestamp_seconds", integration=one.name)
    if not let_in:
        return later("the partner has let no call in yet", f"syncd credential test {one.name}")
    ago = facts.now.timestamp() - let_in
    if ago > LONGEST_UNSEEN_SECONDS:
        return later(f"the partner last let us in {lasting(ago)} ago", f"syncd credential test {one.name}")
    return passed(f"the partner let us in {lasting(ago)} ago; the daemon's last call took {state['latency_ms']:.0f} ms")
