"""Answers as they came, less whoever they are about: each telling value replaced by one of the same shape, and always by the
same one, so that joins and pages hold.

What replaces a value comes from it by HMAC under a key that stays here: the same in every sample saved with that key, and
not to be guessed back from a sample by whoever lacks it.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import re
import string
from collections.abc import Iterator, Mapping
from html import escape, unescape
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit

from syncd.dryrun import telling
from syncd.dryrun.telling import Kind
from syncd.redaction import KNOWN

SHORTEST_PART = 5
"""A shorter value is replaced where it is the whole text, and not inside of others."""
_HEX = frozenset(string.hexdigits)
_PREFIX = re.compile(r"[A-Za-z]{2,10}_(?=[A-Za-z0-9])")
_TAG = re.compile(r"<([A-Za-z_][\w.:-]*)((?:\s+[\w.:-]+\s*=\s*(?:\"[^\"]*\"|'[^']*'))*)\s*/?>([^<]*)")
_ATTRIBUTE = re.compile(r"([\w.:-]+)\s*=\s*(?:\"([^\"]*)\"|'([^']*)')")


class Scrubber:
    """`learn` everything first, then `scrub` it: a value may stand in a cursor before it stands in a record."""

    def __init__(self, key: bytes, *, hosts: Mapping[str, str] | None = None) -> None:
        """`hosts`: base URLs that are not secret but ours, and what they are called in a sample."""
        self._key = key
        self._hosts = sorted((hosts or {}).items(), key=lambda pair: -len(pair[0]))
        self._fakes: dict[str, str] = {}
        self._taken: set[str] = set()
        self._kept: set[str] = set()
        self._numbers: dict[float, float] = {}
        """Degrees, without their sign."""
        self._pattern: re.Pattern[str] | None = None

    # -- first look

    def keep(self, value: str) -> None:
        """Leave this text alone, whatever it looks like: it is known what it is."""
        self._kept.add(value)

    def learn(self, value: Any, name: str = "") -> None:
        """Find what has to be replaced in a parsed document."""
        if isinstance(value, Mapping):
            for key, inner in value.items():
                kind = telling.key_kind(key)
                if kind is not None:
                    self._remember(key, kind)
                self.learn(inner, key if telling.parts_of(key) else name)
        elif isinstance(value, list | tuple):
            for inner in value:
                self.learn(inner, name)
        elif isinstance(value, str):
            self._learn_text(name, value)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            self._learn_number(name, value)

    def learn_text(self, text: str) -> None:
        """The same of a document that is no JSON: tags and attributes are its keys."""
        for tag, attributes, inner in _TAG.findall(text):
            if inner.strip():
                self._learn_text(tag, unescape(inner.strip()))
            for name, one, other in _ATTRIBUTE.findall(attributes):
                if not name.startswith("xmlns"):
                    self._learn_text(name, unescape(one or other))
        for found in telling.MAIL.findall(text):
            self._remember(found, Kind.MAIL)

    def _learn_text(self, name: str, value: str) -> None:
        kind = telling.text_kind(name, value)
        if kind is Kind.LINK and self._ours(value):
            parts = urlsplit(value)  # a link to follow: what it names is replaced, the rest has to go on working
            for key, inner in parse_qsl(parts.query):
                self._learn_text(key, inner)
            for segment in parts.path.split("/"):
                self._learn_text("id" if any(one.isdigit() for one in segment) else "type", unquote(segment))
        elif kind is not None:
            self._remember(value, kind)
        if kind in {Kind.PROSE, Kind.LINK}:
            for found in telling.MAIL.findall(value):
                self._remember(found, Kind.MAIL)

    def _learn_number(self, name: str, value: float) -> None:
        kind = telling.number_kind(name, value)
        if kind is Kind.NUMBER:
            self._remember(str(value), Kind.OPAQUE)
        elif kind is Kind.PLACE:
            text = repr(abs(value))
            if "e" in text:
                self._numbers[abs(value)] = 0.5
            else:
                self._remember(text, kind)
                self._numbers[abs(value)] = float(self._fakes.get(text, text))

    def _ours(self, link: str) -> bool:
        return link.startswith("/") or any(link.startswith(base) for base, _ in self._hosts)

    def _remember(self, value: str, kind: Kind) -> None:
        if value in self._fakes or value in self._kept:
            return
        for turn in range(1000):
            fake = self._fake(value, kind, turn)
            if fake != value and fake not in self._taken:
                break
        self._fakes[value] = fake
        self._taken.add(fake)
        self._pattern = None

    # -- replacing

    def scrub(self, value: Any) -> Any:
        """A parsed document with all that was learnt replaced."""
        if isinstance(value, Mapping):
            return {self.text(key) if telling.key_kind(key) else key: self.scrub(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self.scrub(inner) for inner in value]
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return value
        if isinstance(value, int):
            fake = self._fakes.get(str(value)) if len(str(abs(value))) >= telling.LEAST_DIGITS else None
            return value if fake is None else int(fake)
        place = self._numbers.get(abs(value))
        return value if place is None else math.copysign(place, value)

    def text(self, text: str) -> str:
        """A text with all that was learnt replaced, whole or in part, written as it is or escaped for a URL."""
        whole = self._fakes.get(text)
        if whole is not None:
            return whole
        for base, name in self._hosts:
            text = text.replace(base, name)
        text = self._compiled.sub(lambda found: self._spelt[found[0]], text)
        return KNOWN.mask(text)

    def document(self, text: str) -> str:
        """As `text`, of one that is no JSON: short values between tags are whole ones."""

        def attribute(found: re.Match[str]) -> str:
            fake = self._fakes.get(unescape(found[2] or found[3] or ""))
            return found[0] if fake is None or found[1].startswith("xmlns") else f'{found[1]}="{escape(fake)}"'

        def tag(found: re.Match[str]) -> str:
            fake = self._fakes.get(unescape(found[3].strip()))
            inner = found[3] if fake is None else escape(fake)
            head = found[0][: found.start(3) - found.start()]
            return head.replace(found[2], _ATTRIBUTE.sub(attribute, found[2]), 1) + inner if found[2] else head + inner

        return self.text(_TAG.sub(tag, text))

    def left_in(self, document: Any) -> list[str]:
        """What of the learnt values still stands in a document: nothing, or there is a fault here. Names of keys are none."""
        found = [value for value in self._fakes if len(value) >= SHORTEST_PART and value not in self._taken]
        if not found:
            return []
        told = "\n".join(_texts(document))
        return [value for value in found if re.search(_bounded(value), told)]

    @property
    def _compiled(self) -> re.Pattern[str]:
        if self._pattern is None:
            self._spelt = dict(self._spellings())
            longest_first = sorted(self._spelt, key=lambda value: -len(value))
            self._pattern = re.compile("|".join(map(_bounded, longest_first)) or r"(?!)")
        return self._pattern

    def _spellings(self) -> Iterator[tuple[str, str]]:
        for value, fake in self._fakes.items():
            if len(value) >= SHORTEST_PART:
                for spell in (quote, quote_plus):
                    yield spell(value, safe=""), spell(fake, safe="")
                yield value, fake

    # -- what replaces what

    def _fake(self, value: str, kind: Kind, turn: int) -> str:
        salt = f"{turn}:{value}"
        match kind:
            case Kind.MAIL:
                local, _, host = value.partition("@")
                return f"{self._like(local, salt)}@{self._like(host.partition('.')[0], salt)}.example"
            case Kind.DAY:
                return f"19{self._like('10', salt)}{value[4:8]}15{value[10:]}" if len(value) >= 10 else value
            case Kind.LINK:
                parts = urlsplit(value)
                tail = value[len(parts.scheme) + 3 + len(parts.netloc) :]
                return f"{parts.scheme}://{self._like(parts.netloc.partition('.')[0], salt)}.example" + self._like(
                    tail, salt
                )
            case Kind.PLACE:
                whole, _, digits = value.partition(".")
                other = self._like(digits, salt)
                return f"{whole}.{other[:-1]}{other[-1].replace('0', '5')}"  # as a number it has as many digits
            case Kind.PHONE:
                begin = next((at for at, one in enumerate(value) if one.isdigit()), 0) + 2
                return value[:begin] + self._like(value[begin:], salt)
            case Kind.OPAQUE:
                prefix = _PREFIX.match(value)
                kept = prefix[0] if prefix is not None else ""
                return kept + self._like(value[len(kept) :], salt)
        return self._like(value, salt)

    def _like(self, text: str, salt: str) -> str:
        """Characters of the same class in the same places; a UUID stays one of its version, hexadecimal stays so."""
        chance = self._chance(salt)
        letters = [one for one in text if one.isalnum()]
        is_hex = len(letters) >= 8 and set(letters) <= _HEX and any(one.isdigit() for one in letters)
        is_uuid = is_hex and len(text) == 36 and text.count("-") == 4
        made = []
        for at, one in enumerate(text):
            if is_uuid and at in {14, 19}:
                made.append(one)
            elif one.isdigit() and one.isascii():
                first = at == 0 or not text[at - 1].isalnum()
                made.append(str(next(chance) % 9 + 1) if first and one != "0" else str(next(chance) % 10))
            elif one.isalpha():
                alphabet = "abcdef" if is_hex else string.ascii_lowercase
                letter = alphabet[next(chance) % len(alphabet)]
                made.append(letter.upper() if one.isupper() else letter)
            else:
                made.append(one)
        return "".join(made)

    def _chance(self, salt: str) -> Iterator[int]:
        block = 0
        while True:
            yield from hmac.new(self._key, f"{block}:{salt}".encode("utf-8", "surrogatepass"), hashlib.sha256).digest()
            block += 1


def _texts(document: Any) -> Iterator[str]:
    if isinstance(document, str):
        yield document
    elif isinstance(document, Mapping):
        for key, inner in document.items():
            if telling.key_kind(str(key)):
                yield str(key)
            yield from _texts(inner)
    elif isinstance(document, list | tuple):
        for inner in document:
            yield from _texts(inner)
    elif isinstance(document, int | float) and not isinstance(document, bool):
        yield str(document)


def _bounded(value: str) -> str:
    """The value where it is not part of a longer word or number."""
    before = r"(?<![A-Za-z0-9])" if value[:1].isalnum() else ""
    after = r"(?![A-Za-z0-9])" if value[-1:].isalnum() else ""
    return f"{before}{re.escape(value)}{after}"
