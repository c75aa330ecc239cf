"""What may leave the house: no credential, and no person. Pure.

Credentials are masked by value where they are known and by the name of their key everywhere (`redaction`). Of a JSON body
only what tells of the fault stays readable; in texts, whatever looks like an address or a number of somebody is hidden.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, quote, unquote

from syncd import codec
from syncd.client.evidence import body_text
from syncd.errors import SyncdError
from syncd.redaction import KNOWN, MASK, VEIL, redact, without_addresses, without_persons

MOST: Final = 1024
"""Characters of a body that are shown."""
_TELLING: Final = frozenset(
    {
        *(
            "code",
            "error",
            "errors",
            "error_code",
            "error_description",
            "error_type",
            "message",
            "msg",
            "detail",
            "details",
        ),
        *(
            "title",
            "status",
            "statuscode",
            "status_code",
            "type",
            "reason",
            "request_id",
            "requestid",
            "trace_id",
            "traceid",
        ),
        *("correlation_id", "correlationid", "path", "field", "param", "doc_url", "hint", "description", "retry_after"),
        *("limit", "remaining", "reset", "timestamp", "instance", "fault", "fault_string", "validation_type"),
    }
)
"""Keys whose values stay readable: what partners call a fault by."""
_LONG: Final = re.compile(r"(?<![\w.:/-])\d{9,19}(?![\w-])")
_CALLED: Final = re.compile(r"\+\d[\d ().-]{6,}\d")
_PERSONAL: Final = re.compile(r"mail|phone|mobile|name|address|birth|passport|iban|card", re.IGNORECASE)
_CREDENTIAL: Final = re.compile(
    r"authori[sz]ation|passw|pwd|secret|token|cookie|api_?key|hapikey|private|signature|credential|jwt|session"
    r"|^(?:key|sig|auth|sid)$",
    re.IGNORECASE,
)
"""Parameters that carry one: a signed address of a file is a credential too, until it ends."""
_DEEPEST: Final = 12


def words(text: str) -> str:
    """A text without credentials and without what names a person."""
    return persons(body_text(text.encode("utf-8", "replace")))


def persons(text: str) -> str:
    """A text without what looks like somebody's address or number."""
    return _LONG.sub(VEIL, without_persons(text))


def body(content: bytes, size: int | None = None) -> str:
    """The beginning of a body, so that a fault can be read and nobody be known by it."""
    if not content:
        return ""
    if content.lstrip()[:1] in (b"{", b"["):
        try:
            shown = codec.dumps(_veiled(codec.loads(content))).decode("utf-8", "replace")
        except (SyncdError, ValueError, RecursionError):
            # The rest of it was cut off, so no key tells what is whose.
            return f"({size or len(content):,} bytes of JSON, not whole: not shown)"
        return cut(words(shown))
    return cut(words(content.decode("utf-8", "replace")))


def cut(text: str) -> str:
    return text if len(text) <= MOST else text[:MOST] + "…"


def _veiled(value: Any, *, tells: bool = False, depth: int = 0) -> Any:
    if depth > _DEEPEST:
        return VEIL
    if isinstance(value, Mapping):
        return {
            str(key): _veiled(item, tells=str(key).lower() in _TELLING, depth=depth + 1)
            for key, item in redact(dict(value)).items()
        }
    if isinstance(value, list | tuple):
        return [_veiled(item, tells=tells, depth=depth + 1) for item in list(value)[:20]]
    return value if tells or value is None or isinstance(value, bool) else VEIL


def url(text: str) -> str:
    """A URL without credentials in it and without persons; ids stay, for the partner has to find what is meant."""
    base, _, query = text.partition("?")
    shown = _CALLED.sub(VEIL, without_addresses(KNOWN.mask(base)))
    if not query:
        return shown
    pairs = []
    for key, value in parse_qsl(query, keep_blank_values=True):
        masked = redact({key: value})[key]
        if masked == value and _CREDENTIAL.search(key.replace("-", "_")):
            masked = MASK
        if masked == value:
            masked = VEIL if _PERSONAL.search(key) else _CALLED.sub(VEIL, without_addresses(value))
        pairs.append(f"{quote(key)}={quote(str(masked), safe='*,:;/@+ ')}")
    return f"{shown}?{without_addresses(KNOWN.mask('&'.join(pairs)))}".replace(" ", "+").replace(quote(VEIL), VEIL)


def headers(found: Mapping[str, str]) -> dict[str, str]:
    """Header values without credentials and persons."""
    return {name: without_addresses(KNOWN.mask(str(value))) for name, value in redact(dict(found)).items()}


def is_about(target: str, external_id: str) -> bool:
    """Does a URL name this id, as a whole segment or value?"""
    return re.search(rf"(?<![\w-]){re.escape(external_id)}(?![\w-])", unquote(target)) is not None
