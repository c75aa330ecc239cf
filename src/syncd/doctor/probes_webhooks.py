"""Probes of deliveries: where they come, whether a forged or an old one is refused, what becomes of one that fails."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Sequence

from syncd.doctor.facts import Facts, Subject
from syncd.doctor.model import Answer, beside, failed, later, passed, together, warned
from syncd.errors import SyncdError
from syncd.kit import Delivery, Headers
from syncd.kit.signing import signed
from syncd.secrets import Secret

REPLAY_SECONDS = 300.0
SLOWEST_COMMIT_SECONDS = 1.0
NOBODY = "no deliveries come here: no integration has `webhook:`"
_TRIED_WITH = "whsec_" + b64encode(b"asked by syncd doctor, once").decode()
TIMELESS = frozenset({"attio", "hmac_sha256", "hmac_sha1", "twilio", "none"})
"""Schemes whose signature covers no time."""


def https(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    def look(one: Subject) -> Answer:
        if not one.webhook_url:
            return failed("nothing says where its deliveries come", "server: {public_url: https://HOST}")
        if not one.webhook_url.startswith("https://"):
            return failed(
                f"{one.webhook_url} is not https", "server: {public_url: https://HOST}, and TLS in front of it"
            )
        return passed(one.webhook_url)

    return _hooked(subjects, look)


def verified(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    """A delivery signed as the partner signs is believed, the same with one character changed is not."""

    def look(one: Subject) -> Answer:
        secrets = facts.secrets_of([one.name], webhook=True)
        registers = one.driver.subscriptions(one.partner.options_for(one.name)) is not None
        if not secrets and not registers:
            return failed("it has no secret", "webhook: {secrets: [{file: NAME}]}")
        if not secrets and not one.registered:
            if facts.database is None:
                return later(facts.no_database, facts.see_database)
            return failed(
                "it has no secret: none is configured, and it was never subscribed",
                f"syncd webhook register {one.name}",
            )
        lost = [secret for secret in secrets if secret.error]
        if lost:
            return failed(lost[0].error, lost[0].hint)
        rules = one.driver.spec.webhooks
        kept = f"{len(secrets)} secrets" if len(secrets) != 1 else "1 secret"
        kept = kept if secrets else "the secrets the partner handed over"
        if rules is None or rules.known_by_url:
            return passed(
                f"the partner signs nothing: its address holds the secret ({kept}), and records are read again"
            )
        sound, forged = _tried(facts, one)
        if sound is None:
            return passed(f"by scheme {rules.verify}, {kept}; only the partner can sign a sample")
        if not sound or forged:
            return failed(f"scheme {rules.verify} takes a forged delivery", "a fault of the driver: report it")
        return passed(f"by {rules.verify}, {kept}; a forged sample was refused, a sound one taken")

    return _hooked(subjects, look)


def _tried(facts: Facts, one: Subject, ago: float = 0.0) -> tuple[bool | None, bool]:
    """Is a sample signed so long ago believed, and a forged one? None: nobody but the partner can sign."""
    rules = one.driver.spec.webhooks
    assert rules is not None
    at = facts.now.timestamp() - ago
    believed: list[bool] = []
    for forged in (False, True):
        head = {"content-type": "application/json", "webhook-id": "doctor"}
        blank = Delivery(b'{"asked":"by syncd doctor"}', Headers(head), url=one.webhook_url, route="doctor")
        try:
            more = signed(rules, blank, _TRIED_WITH, at, forged=forged)
            whole = Delivery(blank.body, Headers({**head, **more}), url=blank.url, route=blank.route)
            tolerance = one.config.webhook.tolerance if one.config.webhook is not None else None
            check = one.driver.verifier([Secret(_TRIED_WITH)], tolerance_seconds=tolerance)
            believed.append(bool(check(whole, facts.now.timestamp())))
        except SyncdError:
            return None, False
    return believed[0], believed[1]


def replays(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    """What was signed more than five minutes ago is refused; without a signed time only its id tells."""

    def look(one: Subject) -> Answer:
        rules = one.driver.spec.webhooks
        if rules is None or rules.verify in TIMELESS:
            days = facts.config.retention.inbox / 86_400
            return passed(
                f"its partner signs no time; a delivery that comes again is known by its id for {days:g} days"
            )
        tolerance = one.config.webhook.tolerance if one.config.webhook is not None else None
        tolerance = rules.tolerance if tolerance is None else tolerance
        if tolerance > REPLAY_SECONDS:
            return failed(f"signed times may be {tolerance:g} s old", "webhook: {tolerance: 5m}")
        old, _ = _tried(facts, one, ago=tolerance + 60)
        if old:
            return failed(f"one signed {tolerance + 60:g} s ago is believed", "a fault of the driver: report it")
        if old is None:
            return passed(f"tolerance {tolerance:g} s; only the partner can sign a sample")
        return passed(f"built in: a sample signed {tolerance + 60:g} s ago was refused (tolerance {tolerance:g} s)")

    return _hooked(subjects, look)


def quick(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    """Answered after COMMIT, worked on afterwards."""

    def look(one: Subject) -> Answer:
        daemon = facts.daemon
        if daemon is None:
            return later(facts.no_daemon, facts.see_daemon)
        count = daemon.summed("syncd_intake_commit_seconds_count")
        if not count:
            return later("no delivery has come yet", f"syncd webhook send {one.name} TYPE")
        mean = daemon.summed("syncd_intake_commit_seconds_sum") / count
        told = f"{count:,.0f} commits, {mean * 1000:.1f} ms each; worked on afterwards"
        if mean > SLOWEST_COMMIT_SECONDS:
            return warned(told, "syncd runbook database-slow")
        return passed(f"built in: answered after COMMIT: {told}")

    return _hooked(subjects, look)


def retried(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    """Not stored: 503, and the partner comes again. Stored: syncd tries again by itself."""

    def look(one: Subject) -> Answer:
        daemon = facts.daemon
        if daemon is None:
            return later(facts.no_daemon, facts.see_daemon)
        if not daemon.ready:
            return failed("/ready says that a delivery sent now would not be stored", "syncd status")
        refused = daemon.summed("webhook_failures_total", error_type="not_stored")
        return passed(f"built in: 503 until stored, then retried here; /ready is yes, {refused:,.0f} refused so far")

    return _hooked(subjects, look)


def told(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    """Webhooks where the partner has them, polls as a net below."""

    def look(one: Subject) -> Answer:
        if not one.driver.takes_webhooks:
            return beside("its partner sends none that the driver knows: polled")
        if not one.hooked:
            registers = one.driver.subscriptions(one.partner.options_for(one.name)) is not None
            do = f"syncd webhook register {one.name}" if registers else "webhook: {secrets: [{file: NAME}]}"
            return warned("its partner could tell of changes; it is polled", do)
        rules = one.driver.spec.webhooks
        routes = set(rules.routes.values()) & set(one.plans) if rules is not None else set()
        return passed(
            f"deliveries tell of {len(routes) or 'its'} of {len(one.plans)} resources; polls are the net below"
        )

    return together([(one.name, look(one)) for one in subjects])


def _hooked(subjects: Sequence[Subject], look: Callable[[Subject], Answer]) -> Answer:
    found = [one for one in subjects if one.hooked]
    return together([(one.name, look(one)) for one in found]) if found else beside(NOBODY)
