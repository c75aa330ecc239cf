"""XML in and out as the plain values all else works on, and nothing of what makes XML dangerous.

An element with nothing but text is that text; any other is a dictionary: attributes as `@Name`, children by their name, its
own text as `$`. What comes twice is a list; what `Markup.lists` names is one always. Names lose their namespace. DTDs,
entities and whatever they would fetch are refused. Sizes are bounded where bodies are read; nesting is bounded here.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final
from xml.sax.saxutils import escape, quoteattr

from syncd.codec import loads as loads_json
from syncd.errors import ConfigError, PayloadError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

MAX_DEPTH: Final = 100
"""Levels of nesting of a document: partners' own have a dozen."""
MAX_TAGS: Final = 2_000_000
"""Beginnings and ends of elements, and again attributes, of one document: a parsed one takes a hundred bytes for each."""
INSTALL: Final = "pip install 'syncd[xml]'"
_NAME: Final = re.compile(r"[A-Za-z_][\w.-]*\Z")
_NOT_IN_XML: Final = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_REFERENCE: Final = re.compile(r"&#([xX][0-9a-fA-F]{1,8}|[0-9]{1,8});")
_REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"
_NOT_KEPT: Final = b"(in an encoding in which what must not be kept could not be seen)"
_UNREADABLE: Final = (b"\xff\xfe", b"\xfe\xff", b"\x00")


@dataclass(frozen=True, slots=True)
class Markup:
    """How a partner's XML is read."""

    lists: frozenset[str] = frozenset()
    """Elements that may come more than once: always a list."""
    drop: tuple[str, ...] = ()
    """Elements nobody may keep, with all they hold; a name may end in `*`."""


def need() -> None:
    """Raises ConfigError, with the command that helps, where XML cannot be read."""
    try:
        import defusedxml.ElementTree  # noqa: F401
    except ImportError:
        raise ConfigError(
            "this partner speaks XML, and nothing to read that safely is installed", hint=INSTALL
        ) from None


def loads(document: bytes, rules: Markup) -> Any:
    """The value of an XML document: its root's name over the rest; nothing for an empty one, JSON where that came instead.

    Raises PayloadError for anything else, ConfigError where the extra is missing.
    """
    start = document[:1024].lstrip()
    if not start and not document.strip():
        return {}
    if start[:1] in (b"{", b"["):
        return loads_json(document)
    if document.count(b"<") > MAX_TAGS or document.count(b"=") > MAX_TAGS:
        raise PayloadError("the answer has too many elements to be read", hint="ask for smaller pages (page_size)")
    need()
    import defusedxml.ElementTree as ElementTree
    from defusedxml import DefusedXmlException

    def parsed(text: bytes) -> Element:
        found: Element = ElementTree.fromstring(text, forbid_dtd=True, forbid_entities=True, forbid_external=True)
        return found

    try:
        try:
            root = parsed(document)
        except ElementTree.ParseError:  # one guest's name must not keep all the others out
            root = parsed(_mended(document))
    except ElementTree.ParseError as error:
        raise PayloadError(f"the answer is not XML: {error}") from None
    except DefusedXmlException:
        raise PayloadError("the answer is XML with a DTD or entities, which are never read") from None
    except (ValueError, LookupError) as error:
        raise PayloadError(f"the answer is not XML: {type(error).__name__}") from None
    dropped = _dropped(rules.drop)
    name = _local(root.tag)
    return {} if dropped is not None and dropped.fullmatch(name) else {name: _value(root, rules, dropped, 1)}


def _value(element: Element, rules: Markup, dropped: re.Pattern[str] | None, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise PayloadError("the answer is nested too deeply")
    found: dict[str, Any] = {f"@{_local(name)}": value for name, value in element.attrib.items()}
    several: set[str] = set()
    for child in element:
        name = _local(child.tag)
        if dropped is not None and dropped.fullmatch(name):
            continue
        value = _value(child, rules, dropped, depth + 1)
        if name in several:
            found[name].append(value)
        elif name in rules.lists:
            found[name] = [value]
            several.add(name)
        elif name in found:
            found[name] = [found[name], value]
            several.add(name)
        else:
            found[name] = value
    text = (element.text or "").strip()
    if not found:
        return text
    if text:
        found["$"] = text
    return found


def _mended(document: bytes) -> bytes:
    """The document with what no XML may hold replaced: control characters, as bytes or references, and bytes of no UTF-8."""
    text = document.decode("utf-8", "replace")
    return _NOT_IN_XML.sub(_REPLACEMENT, _REFERENCE.sub(_referred, text)).encode()


def _referred(found: re.Match[str]) -> str:
    digits = found[1]
    number = int(digits[1:], 16) if digits[0] in "xX" else int(digits)
    sound = number <= sys.maxunicode and not _NOT_IN_XML.match(chr(number))
    return found[0] if sound else _REPLACEMENT


def without(document: bytes, rules: Markup) -> bytes:
    """The document without the elements nobody may keep: done to the bytes, before anybody looks at them.

    One that is cut off in the middle of such an element ends before it. Of one in an encoding where that could not be seen
    nothing is left, and `loads` refuses it.
    """
    pattern = _bytes_dropped(rules.drop)
    if pattern is None or not document:
        return document
    if document.startswith(_UNREADABLE[:2]) or _UNREADABLE[2] in document[:4]:
        return _NOT_KEPT
    return pattern.sub(b"", document)


def dumps(document: Mapping[str, Any]) -> bytes:
    """The XML of `{root: value}`: attributes as `@Name`, text as `$`, a list as so many elements, None as none.

    Raises PayloadError for what XML cannot say.
    """
    if len(document) != 1:
        raise PayloadError("an XML document has one root element")
    return ('<?xml version="1.0" encoding="UTF-8"?>\n' + "".join(_written(document, 0))).encode()


def _written(fields: Mapping[str, Any], depth: int) -> Iterator[str]:
    if depth > MAX_DEPTH:
        raise PayloadError("the document is nested too deeply")
    for name, given in fields.items():
        if name.startswith("@") or name == "$" or given is None:
            continue
        if not _NAME.match(name):
            raise PayloadError(f"an XML element cannot be called {name!r}")
        for value in given if isinstance(given, list | tuple) else (given,):
            if not isinstance(value, Mapping):
                text = escape(_text(value))
                yield f"<{name}>{text}</{name}>" if text else f"<{name}/>"
                continue
            attributes = "".join(
                f" {_attribute(key)}={quoteattr(_text(inner))}"
                for key, inner in value.items()
                if key.startswith("@") and inner is not None
            )
            inside = escape(_text(value.get("$", ""))) + "".join(_written(value, depth + 1))
            yield f"<{name}{attributes}>{inside}</{name}>" if inside else f"<{name}{attributes}/>"


def _attribute(key: str) -> str:
    if not _NAME.match(key[1:]):
        raise PayloadError(f"an XML attribute cannot be called {key[1:]!r}")
    return key[1:]


def _text(value: Any) -> str:
    text = ("true" if value else "false") if isinstance(value, bool) else str(value)
    if _NOT_IN_XML.search(text):
        raise PayloadError("a text holds a character that XML has no way to write")
    return text


def _local(tag: object) -> str:
    return str(tag).rpartition("}")[2]


def _pattern(names: tuple[str, ...]) -> str:
    return "|".join(re.escape(name[:-1]) + r"[\w.-]*" if name.endswith("*") else re.escape(name) for name in names)


@lru_cache(maxsize=64)
def _dropped(names: tuple[str, ...]) -> re.Pattern[str] | None:
    return re.compile(_pattern(names), re.IGNORECASE) if names else None


@lru_cache(maxsize=64)
def _bytes_dropped(names: tuple[str, ...]) -> re.Pattern[bytes] | None:
    if not names:
        return None
    name = _pattern(names)
    whole = rf"<((?:[\w.-]+:)?(?:{name}))(?=[\s/>])(?:[^<>]*/>|[^<>]*>.*?(?:</\1\s*>|\Z)|[^<>]*\Z)"
    return re.compile(whole.encode(), re.IGNORECASE | re.DOTALL)
