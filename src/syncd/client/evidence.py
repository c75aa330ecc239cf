"""What a call said and was told, for the dead letter it may become: bounded, and without anything secret.

Made only where a call failed for good. The credential is not in it by construction: the request is the driver's, from
before it was stamped. What partners echo, and what a body carries by itself, is masked: known values wherever they stand,
and the values of keys that name a credential in JSON, forms and XML.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import parse_qsl, urlencode

from syncd import codec, markup
from syncd.errors import SyncdError
from syncd.model import Request, Response
from syncd.redaction import KNOWN, MASK, redact

MOST_BODY = 1024
"""Characters of a body that are kept."""
_LOOKED_AT = 64 * 1024
"""Bytes up to which a body is read as JSON or a form; of a longer one the beginning is masked as text."""
_MOST_TEXT = 4 * MOST_BODY
_HEADERS = frozenset(
    {
        *("content-type", "content-length", "date", "location", "retry-after", "server", "via", "www-authenticate"),
        *(
            "x-request-id",
            "request-id",
            "x-requestid",
            "x-correlation-id",
            "x-trace-id",
            "cf-ray",
            "deprecation",
            "sunset",
        ),
    }
)
_LONGEST_HEADER = 200
_MOST_HEADERS = 20
_MOST_ITEMS = 200
_DEEPEST = 8
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]+")
_NAMES = (
    r"(?:[\w-]{0,30}(?:authorization|password|passwd|secret|token|cookie|api[_-]?key|private[_-]?key|signature|credential)"
    r"[\w-]{0,30}|pwd)"
)
_KEYED = re.compile(
    rf"(?P<key>\b{_NAMES}(?:\\{{0,15}}[\"'])?\s{{0,5}}[:=]\s{{0,5}})"
    r"(?P<value>\"(?:[^\"\\]|\\.){0,2000}\"?|'[^']{0,2000}'?|\\{1,15}\"(?:(?!\\{1,15}\").){0,2000}|[^\s,;&<>\"'}\]]{1,2000})",
    re.IGNORECASE,
)
_QUOTE = re.compile(r"\\*[\"']")
_TAGGED = re.compile(rf"(?P<key><(?:[\w-]+:)?{_NAMES}(?:\s[^<>]{{0,200}})?>)[^<]{{1,2000}}", re.IGNORECASE)
_SCHEMED = re.compile(r"\b(Bearer|Basic|Token)\s+[\w+/=.~-]{4,}", re.IGNORECASE)


def evidence_of(request: Request, response: Response | None, *, route: str = "") -> dict[str, Any]:
    """`{"request": ..., "response": ...}` fit to be stored and shown; the response is None where no answer came."""
    path, _, query = request.path.partition("?")
    pairs = list(request.params.items()) if isinstance(request.params, Mapping) else list(request.params)
    pairs = [*parse_qsl(query, keep_blank_values=True), *pairs]
    said: dict[str, Any] = {
        "method": request.method,
        "route": route or request.route or _text(path),
        "path": _text(path),
    }
    if pairs:
        said["params"] = _fields(pairs)
    if request.headers:
        said["headers"] = _fields(list(request.headers.items()))
    if request.json is not None:
        said["body"] = _json(request.json)
    elif request.form is not None:
        said["body"] = _form(list(request.form.items()))
    elif request.xml is not None:
        said["body"] = body_text(markup.dumps(redact(dict(request.xml))))
    return {"request": said, "response": answer_of(response) if response is not None else None}


@contextmanager
def witnessed(request: Request, response: Response) -> Iterator[None]:
    """Whatever the block makes of an answer: an error it raises carries the call as evidence."""
    try:
        yield
    except Exception as error:
        if getattr(error, "evidence", None) is None:
            with suppress(AttributeError):  # a foreign exception may take no attributes
                error.evidence = evidence_of(request, response)  # type: ignore[attr-defined]
        raise


def answer_of(response: Response) -> dict[str, Any]:
    """What was answered, masked: status, the headers that tell something, size, seconds, the beginning of the body."""
    headers = {
        name: _text(str(value)[:_LONGEST_HEADER])
        for name, value in response.headers.items()
        if name.lower() in _HEADERS or "ratelimit" in name.lower() or "rate-limit" in name.lower()
    }
    found: dict[str, Any] = {
        "status": response.status_code,
        "headers": dict(list(headers.items())[:_MOST_HEADERS]),
        "bytes": len(response.content),
        "seconds": round(response.elapsed_seconds, 3),
    }
    body = body_text(response.content, response.headers.get("content-type", ""))
    if body:
        found["body"] = body
    return found


def body_text(content: bytes, kind: str = "") -> str:
    """The first KB of a body, masked; whatever the bytes are."""
    if not content:
        return ""
    if len(content) <= _LOOKED_AT:
        if content.lstrip()[:1] in (b"{", b"["):
            try:
                return _json(codec.loads(content))
            except (SyncdError, ValueError, RecursionError):
                pass
        if "x-www-form-urlencoded" in kind.lower():
            return _form(parse_qsl(content.decode("utf-8", "replace"), keep_blank_values=True))
    return _text(content[:_MOST_TEXT].decode("utf-8", "replace"), whole=len(content))


def _json(value: Any) -> str:
    clean = redact(_opened(value))
    try:
        return _text(codec.dumps(clean).decode())
    except SyncdError:
        return _text(repr(clean))


def _opened(value: Any, depth: int = 0) -> Any:
    """The value with JSON that stands in its texts masked too: webhooks and errors like to quote whole requests."""
    if depth > _DEEPEST:
        return value
    if isinstance(value, Mapping):
        return {name: _opened(item, depth + 1) for name, item in list(value.items())[:_MOST_ITEMS]}
    if isinstance(value, list | tuple):
        return [_opened(item, depth + 1) for item in list(value)[:_MOST_ITEMS]]
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "[") and len(value) <= _LOOKED_AT:
        try:
            return codec.dumps(redact(_opened(codec.loads(value), depth + 1))).decode()
        except (SyncdError, ValueError, RecursionError):
            return value
    return value


def _form(pairs: list[tuple[str, Any]]) -> str:
    return _text(urlencode(_fields(pairs), doseq=True, safe="*", errors="replace"))


def _fields(pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
    """Pairs as a mapping: what is said twice is a list."""
    merged: dict[str, Any] = {}
    for name, value in pairs[:200]:
        key = str(name)
        merged[key] = (
            [*(merged[key] if isinstance(merged[key], list) else [merged[key]]), value] if key in merged else value
        )
    masked: dict[str, Any] = redact(_opened(merged))
    try:
        codec.dumps_storable(masked)
    except SyncdError:
        return {_text(name): _text(str(value)) for name, value in masked.items()}  # no letter is lost for such a value
    return masked


def _hidden(found: re.Match[str]) -> str:
    value = found["value"]
    quote = _QUOTE.match(value)
    if quote is None:
        return found["key"] + MASK
    closing = quote[0] if len(value) > len(quote[0]) and value.endswith(quote[0]) else ""
    return f"{found['key']}{quote[0]}{MASK}{closing}"


def without_credentials(text: str) -> str:
    """A text in which the known ones are masked, and whatever stands where a credential does: after its name, its scheme."""
    masked = _SCHEMED.sub(lambda found: f"{found[1]} {MASK}", KNOWN.mask(text))
    masked = _KEYED.sub(_hidden, masked)
    return _TAGGED.sub(lambda found: found["key"] + MASK, masked)


def _text(text: str, *, whole: int = 0) -> str:
    """One text, masked and then cut: never the first half of what would have been masked."""
    masked = without_credentials(_CONTROL.sub(" ", text[: 2 * _MOST_TEXT]))
    if len(masked) <= MOST_BODY and whole <= _MOST_TEXT:
        return masked
    size = f" bytes, {whole:,} in all" if whole else ""
    return f"{masked[:MOST_BODY]}… (cut{size})" if size else masked[:MOST_BODY] + "…"
