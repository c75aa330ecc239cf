"""The second wall round secrets (R14): every value known to be one, and a mask for any text that holds it.

`secrets.Secret` registers each value it is given; `log` masks each line it writes. A value is also looked for in the
forms it takes on the way: percent-encoded in a URL, escaped in JSON, base64 alone or inside `user:password`.
The cost of a line grows with its length and hardly with the number of known values: the line is cut into pieces of six
characters, and a form of eleven or more can only stand in it where one of its own first pieces does.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import quote, quote_plus

MASK, VEIL = "****", "•••"
SHORTEST = 6
"""A shorter value would mask ordinary words all over the log; nobody should use one as a secret. Also the length of the
pieces that lines are searched by, since no form is shorter."""
_RECENT = 1_000
"""Run-time values (tokens) kept; the oldest are forgotten first. Those a Vault resolved are pinned and stay."""
_PINNED = 4_000
LONGEST = 8_192
"""Longest text of one field; a traceback keeps its end, other texts their beginning."""
_ITEMS = 200
_DEPTH = 6

_SENSITIVE = frozenset(
    {
        *("authorization", "proxy_authorization", "cookie", "set_cookie", "token", "access_token", "refresh_token"),
        *("id_token", "secret", "secrets", "client_secret", "password", "passwd", "pwd", "api_key", "apikey"),
        *("x_api_key", "private_key", "webhook_secret", "stripe_signature", "attio_signature", "svix_signature"),
    }
)
_SENSITIVE_ENDS = ("_secret", "_token", "_password", "_api_key", "_authorization", "_private_key")

# What betrays a credential by its place, known value or not.
_TELLING = re.compile(
    r"(?P<scheme>\b(?:[Bb]earer|[Bb]asic)\s+)(?=[\w+/=.~-]*[0-9=])[\w+/=.~-]{8,}"
    r"|(?P<user>://)[^/\s:@\"']*:[^/\s@\"']+@"
    r"|(?P<param>[?&](?:access_token|refresh_token|api_?key|token|client_secret|password|signature|sig"
    r"|Signature|X-Amz-(?:Signature|Credential|Security-Token))=)[^&\s\"'#]+"
)
# What betrays one by its own look: errors of partners and of libraries quote them, of whomever they are.
_LOOKS = ("eyJ", "PRIVATE KEY", "k_live_", "k_test_", "whsec_", "AKIA", "ghp_", "xox")
_SHAPED = re.compile(
    r"\beyJ[\w-]{5,}\.eyJ[\w-]{5,}(?:\.[\w-]*)?"
    r"|-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY-----"
    r"(?:[^-]*(?:-(?!----)[^-]*)*-----END [A-Z0-9 ]{0,30}PRIVATE KEY-----|[\w+/=\s\\]*)"
    r"|\b[sr]k_(?:live|test)_\w{8,}|\bwhsec_[\w+/=]{8,}|\bAKIA[0-9A-Z]{16}\b|\bghp_\w{20,}|\bxox[abeprs]-[\w-]{8,}"
)

_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]+(?:@|%40)[\w-]+(?:\.[\w-]+)+")
_PHONE = re.compile(
    r"(?<![\w.:/-])(?!\d{4}-\d\d-\d\d)(?:\+\d[\d ().-]{6,}\d|\(?\d{2,4}\)?[ .-]\d{3,4}[ .-]\d{3,5})(?![\w-])"
)


def _replace(found: re.Match[str]) -> str:
    if found["user"]:
        return f"{found['user']}{MASK}@"
    return f"{found['scheme'] or found['param']}{MASK}"


class _Form(NamedTuple):
    """One way in which a value may be written."""

    text: str
    is_core: bool
    """It is a piece from the middle of a base64 text: its neighbours hold the other bits of the same value."""

    def mask(self, text: str) -> str:
        if not self.is_core:
            return text.replace(self.text, MASK)
        return re.sub(rf"[A-Za-z0-9+/_-]*{re.escape(self.text)}[A-Za-z0-9+/_=-]*", MASK, text)


class KnownSecrets:
    """The registry. Safe to use from several threads."""

    def __init__(self) -> None:
        self._pinned: dict[str, frozenset[_Form]] = {}
        self._recent: dict[str, frozenset[_Form]] = {}
        self._lock = threading.Lock()
        self._pieces: dict[str, list[_Form]] = {}
        self._short: tuple[_Form, ...] = ()
        self._stale = False

    def __len__(self) -> int:
        return len(self._pinned) + len(self._recent)

    def __repr__(self) -> str:
        return f"KnownSecrets({len(self)})"

    def add(self, value: str) -> None:
        """Remember a value obtained at run time."""
        if len(value) < SHORTEST or value in self._pinned:
            return
        with self._lock:
            is_new = value not in self._recent
            self._recent[value] = _forms_of(value) if is_new else self._recent.pop(value)  # moves to the end
            if len(self._recent) > _RECENT:
                del self._recent[next(iter(self._recent))]
            self._stale = self._stale or is_new

    def pin(self, value: str) -> None:
        """Remember a value of the configuration for as long as the process lives."""
        if len(value) < SHORTEST or value in self._pinned or len(self._pinned) >= _PINNED:
            return
        with self._lock:
            self._recent.pop(value, None)
            self._pinned[value] = _forms_of(value)
            self._stale = True

    def mask(self, text: str) -> str:
        """The text with every known value, in any of its forms, replaced by ****."""
        if self._stale:
            self._rebuild()
        found = {form for form in self._short if form.text in text}
        if self._pieces:
            # Any long form in the text covers one of these pieces whole. Mostly none is known, and that is all.
            pieces = {text[at : at + SHORTEST] for at in range(0, len(text) - SHORTEST + 1, SHORTEST)}
            for piece in self._pieces.keys() & pieces:
                found.update(form for form in self._pieces[piece] if form.text in text)
        # Longest first: a value that contains another must not be left half readable.
        for form in sorted(found, key=lambda form: (form.is_core, -len(form.text))):
            text = form.mask(text)
        if "://" in text or "=" in text or "earer" in text or "asic" in text:
            text = _TELLING.sub(_replace, text)
        if any(look in text for look in _LOOKS):
            text = _SHAPED.sub(MASK, text)
        return text

    def _rebuild(self) -> None:
        with self._lock:
            pieces: dict[str, list[_Form]] = {}
            short: list[_Form] = []
            for form in {form for forms in [*self._pinned.values(), *self._recent.values()] for form in forms}:
                if len(form.text) < 2 * SHORTEST - 1:
                    short.append(form)
                else:
                    for at in range(SHORTEST):
                        pieces.setdefault(form.text[at : at + SHORTEST], []).append(form)
            self._pieces, self._short = pieces, tuple(short)
            self._stale = False  # last: whoever sees it sees the new tables


def _forms_of(value: str) -> frozenset[_Form]:
    return frozenset([*(_Form(text, False) for text in _forms(value)), *(_Form(text, True) for text in _cores(value))])


def _forms(value: str) -> Iterator[str]:
    yield value
    yield quote(value, safe="", errors="replace")
    yield quote(value, errors="replace")
    yield quote_plus(value, errors="replace")
    escaped = json.dumps(value)[1:-1]
    yield escaped
    yield json.dumps(value, ensure_ascii=False)[1:-1]
    yield json.dumps(escaped)[1:-1]  # JSON within JSON
    yield repr(value)[1:-1]
    yield repr(value.encode("utf-8", "replace"))[2:-1]
    if "\n" in value:  # a PEM key may be cited line by line
        yield from (line for line in map(str.strip, value.splitlines()) if len(line) >= 16 and "-----" not in line)


def _cores(value: str) -> Iterator[str]:
    """The part of the base64 that is the same whatever stands before and after, for each of the three alignments."""
    raw = value.encode("utf-8", "replace")
    for offset in range(3):
        padded = b"\0" * offset + raw
        text = base64.b64encode(padded).decode().rstrip("=")
        first = (0, 2, 3)[offset]  # characters that also hold bits of what stands before
        last = len(text) - (1 if len(padded) % 3 else 0)  # and of what follows
        core = text[first:last]
        if len(core) >= SHORTEST:
            yield core
            yield core.replace("+", "-").replace("/", "_")


KNOWN = KnownSecrets()
"""The process's one registry."""


def without_persons(text: str) -> str:
    """A text without what looks like a mail address or a telephone number. Bare numbers stay: they may be ids."""
    return _PHONE.sub(VEIL, without_addresses(text))


def without_addresses(text: str) -> str:
    """A text without mail addresses."""
    return _EMAIL.sub(VEIL, text)


def redact(value: Any) -> Any:
    """A copy fit for any output: keys that name a credential lose their value, known secrets are masked in every text,
    long texts, lists and deep nests are cut. Never raises."""
    return _tidy(value, 0, mask=True)


def tidy(value: Any) -> Any:
    """As redact(), but short texts are left alone: for a caller who masks the finished line as a whole."""
    return _tidy(value, 0, mask=False)


def veiled(value: Any, shown: Collection[str] = ()) -> Any:
    """A copy that names every key and hides every value but the texts in `shown`: what is in it may be personal."""
    if isinstance(value, Mapping):
        return {key: veiled(each, shown) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [veiled(each, shown) for each in value]
    if value is None or isinstance(value, bool) or (isinstance(value, str) and value in shown):
        return value
    return VEIL


def _tidy(value: Any, depth: int, *, mask: bool) -> Any:
    if isinstance(value, str):
        return _text(value, mask)
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if depth >= _DEPTH:
        return "..."
    if isinstance(value, Mapping):
        return {
            _key(name, mask): MASK if _is_sensitive(name) else _tidy(item, depth + 1, mask=mask)
            for name, item in list(value.items())[:_ITEMS]
        }
    if isinstance(value, (list, tuple, set, frozenset)):
        items = list(value)[:_ITEMS]
        if len(items) == 2 and isinstance(value, tuple) and _is_sensitive(items[0]):  # a header as a pair
            return [_key(items[0], mask), MASK]
        return [_tidy(item, depth + 1, mask=mask) for item in items]
    try:
        return _text(repr(value), mask)
    except Exception:
        return f"<{type(value).__name__}>"


def _text(text: str, mask: bool) -> str:
    if len(text) <= LONGEST:
        return KNOWN.mask(text) if mask else text
    # Masked between two cuts: the first bounds the work, the second removes what the first cut through.
    masked = KNOWN.mask(text[: 2 * LONGEST])
    return f"{masked[:LONGEST]}... ({len(text)} characters)"


def _key(name: object, mask: bool) -> str:
    return _text(name.decode("latin-1") if isinstance(name, bytes) else str(name), mask)


def _is_sensitive(name: object) -> bool:
    if isinstance(name, bytes):
        name = name.decode("latin-1")
    return isinstance(name, str) and _names_credential(name[:100])


@lru_cache(maxsize=4_096)
def _names_credential(name: str) -> bool:
    plain = name.lower().replace("-", "_")
    return plain in _SENSITIVE or plain.endswith(_SENSITIVE_ENDS)
