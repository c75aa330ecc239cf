"""Calls to partners: one transport a partner, one session an integration. The only place that knows httpx."""

from syncd.client.addresses import Addresses, Origin, fill, origin_of
from syncd.client.answers import Classify
from syncd.client.auth import Auth, Secrets, Sign, Signable, Signature
from syncd.client.chaos import Chaos
from syncd.client.classify import classify
from syncd.client.client import Session
from syncd.client.kinds import AuthFacts, build
from syncd.client.recent import CLASSES, SPANS, Recent, percentiles
from syncd.client.stats import CallStats
from syncd.client.transport import USER_AGENT, PartnerTransport, Sink, Timeouts, checked_header
from syncd.client.trip import Judging, Patience, Shut

__all__ = [
    "CLASSES",
    "SPANS",
    "USER_AGENT",
    "Addresses",
    "Auth",
    "AuthFacts",
    "CallStats",
    "Chaos",
    "Classify",
    "Judging",
    "Origin",
    "PartnerTransport",
    "Patience",
    "Recent",
    "Secrets",
    "Session",
    "Shut",
    "Sign",
    "Signable",
    "Signature",
    "Sink",
    "Timeouts",
    "build",
    "checked_header",
    "classify",
    "fill",
    "origin_of",
    "percentiles",
]
