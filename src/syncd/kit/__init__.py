"""All a driver imports: `from syncd.kit import ...`, and nothing else of syncd."""

from syncd import markup
from syncd.client.auth import Sign, Signable, Signature
from syncd.errors import (
    AuthError,
    ConfigError,
    GoneError,
    PartnerError,
    PayloadError,
    RateLimitError,
    RejectedError,
    TransientError,
    UnknownOutcomeError,
)
from syncd.kit import coerce, signatures
from syncd.kit.auth import Auth
from syncd.kit.by_id import Many, One
from syncd.kit.canary import Canary
from syncd.kit.classify import classify, error_for
from syncd.kit.contact import is_card_number
from syncd.kit.deliveries import Webhooks
from syncd.kit.driver import Driver, Reading
from syncd.kit.failures import Errors, Word
from syncd.kit.filling import equal
from syncd.kit.limits import Breaker, Limits, Tier
from syncd.kit.listing import Pages, Since
from syncd.kit.look_ups import made_by_another
from syncd.kit.moments import since_text, since_value
from syncd.kit.options import checked as checked_options
from syncd.kit.paging import with_params
from syncd.kit.paths import MISSING, getter, put
from syncd.kit.pushing import STATE
from syncd.kit.reading import replaced
from syncd.kit.receiver import Accepted, Receiver, Refused
from syncd.kit.resource import Adapter, Resource
from syncd.kit.rest import RestDriver
from syncd.kit.shapes import Deleted, MappedField, Stamp
from syncd.kit.signatures import Verdict
from syncd.kit.spec import DriverSpec, Option, Probe, Quality, Xml
from syncd.kit.subscriptions import ListedSubscriptions, Subscription, Subscriptions, UnlistedSubscriptions
from syncd.kit.verifying import Verifier
from syncd.kit.webhooks import Change, Delivery, Event, believed, composite_id
from syncd.model import Checkpoint, Headers, Identity, Item, Mode, Raw, Record, Request, Response
from syncd.secrets import Secret

__all__ = [
    "MISSING",
    "STATE",
    "Accepted",
    "Adapter",
    "Auth",
    "AuthError",
    "Breaker",
    "Canary",
    "Change",
    "Checkpoint",
    "ConfigError",
    "Deleted",
    "Delivery",
    "Driver",
    "DriverSpec",
    "Errors",
    "Event",
    "GoneError",
    "Headers",
    "Identity",
    "Item",
    "Limits",
    "ListedSubscriptions",
    "Many",
    "MappedField",
    "Mode",
    "One",
    "Option",
    "Pages",
    "PartnerError",
    "PayloadError",
    "Probe",
    "Quality",
    "RateLimitError",
    "Raw",
    "Reading",
    "Receiver",
    "Record",
    "Refused",
    "RejectedError",
    "Request",
    "Resource",
    "Response",
    "RestDriver",
    "Secret",
    "Sign",
    "Signable",
    "Signature",
    "Since",
    "Stamp",
    "Subscription",
    "Subscriptions",
    "Tier",
    "TransientError",
    "UnknownOutcomeError",
    "UnlistedSubscriptions",
    "Verdict",
    "Verifier",
    "Webhooks",
    "Word",
    "Xml",
    "believed",
    "checked_options",
    "classify",
    "coerce",
    "composite_id",
    "equal",
    "error_for",
    "getter",
    "is_card_number",
    "made_by_another",
    "markup",
    "put",
    "replaced",
    "signatures",
    "since_text",
    "since_value",
    "with_params",
]
