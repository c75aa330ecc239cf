"""Files and documents as they may be shown to syncd's own makers: structure and references stay, values of theirs do not."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from syncd.client.evidence import without_credentials
from syncd.redaction import KNOWN, MASK, VEIL, redact
from syncd.support.masking import persons

_PLACES: Final = frozenset({"env", "file", "credential", "directory"})
_IDS: Final = frozenset({"record", "record_id", "external_id", "examples"})
_SECRET: Final = re.compile(
    r"credential|secret|token|password|passwd|api_?key|private|^url$|^key$|client_id|username|authorization|signature",
    re.IGNORECASE,
)
_THEIRS: Final = frozenset({"options", "headers", "params", "body", "chaos"})
"""Below these keys stands what a person wrote for a partner: nobody knows what is in it."""
_USER_INFO: Final = re.compile(r"(\w://)[^/\s@\"']+@")
_LABEL: Final = re.compile(r'"((?:[^"\\]|\\.)*)"')
_RECORD: Final = re.compile(r"(\"?\b(?:record_id|external_id|record)\"?\s*[:=]\s*)(\"[^\"]*\"|[^\s,}\"]+)")


def configuration(value: Any) -> Any:
    """A YAML file's data: keys, numbers, switches, names of drivers and hosts stay; secrets and what is theirs do not."""
    return _config(value, secret=False, theirs=False)


def _config(value: Any, *, secret: bool, theirs: bool) -> Any:
    if isinstance(value, Mapping):
        if secret and value and {str(key) for key in value} <= _PLACES:
            return {key: clean(str(item)) for key, item in value.items()}  # it only says where one is kept
        return {
            clean(str(key)): _config(
                item, secret=secret or _SECRET.search(str(key)) is not None, theirs=theirs or str(key) in _THEIRS
            )
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_config(item, secret=secret, theirs=theirs) for item in value]
    if value is None or isinstance(value, bool):
        return value
    if secret:
        return MASK
    if isinstance(value, int | float):
        return value
    return VEIL if theirs else clean(str(value))


def literals(value: Any, *, secret: bool = False) -> Iterator[str]:
    """Secrets that stand in a file as they are, so that they are masked wherever else they stand."""
    if isinstance(value, Mapping):
        if secret and value and {str(key) for key in value} <= _PLACES:
            return
        for key, item in value.items():
            yield from literals(item, secret=secret or _SECRET.search(str(key)) is not None)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from literals(item, secret=secret)
    elif secret and isinstance(value, str):
        yield value


def clean(text: str) -> str:
    """A text without credentials, persons, user names in URLs and ids of records."""
    masked = persons(without_credentials(without_secrets(text)))
    return _RECORD.sub(lambda found: f'{found[1]}"{VEIL}"', masked)


def without_secrets(text: str) -> str:
    """A text without credentials and user names in URLs; figures stay."""
    return KNOWN.mask(_USER_INFO.sub(rf"\1{MASK}@", text))


def log_line(line: str) -> str:
    """A line of the log: what a journal puts before it, and its own document, key by key."""
    before, brace, after = line.partition("{")
    if brace:
        try:
            told = json.loads(brace + after)
        except (ValueError, RecursionError):
            return clean(line)
        return clean(before) + json.dumps(document(told), ensure_ascii=False)
    return clean(line)


def sample(line: str) -> str:
    """A line of /metrics: its figure stays, what was said is cleaned."""
    return _LABEL.sub(lambda found: f'"{clean(found[1])}"', line)


def document(value: Any) -> Any:
    """A JSON document of ours, all of it: keys that name a credential lose their value, texts are cleaned."""
    if isinstance(value, Mapping):
        shown = redact({str(key): None for key in value})
        return {
            str(key): MASK if shown.get(str(key)) == MASK else (VEIL if item and str(key) in _IDS else document(item))
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [document(item) for item in value]
    return clean(value) if isinstance(value, str) else value


class Pseudonyms:
    """Other names for what says whose installation it is; the same one each time."""

    def __init__(self, names: Mapping[str, Sequence[str]]) -> None:
        """`names`: by kind (`integration`, `company`, `host` ...) what is to be replaced."""
        self._others: dict[str, str] = {}
        for kind, found in names.items():
            for place, name in enumerate(dict.fromkeys(one for one in found if len(one) > 1), 1):
                self._others.setdefault(name, f"{kind}-{place}")
        longest = sorted(self._others, key=len, reverse=True)
        self._pattern = re.compile(
            "|".join(rf"(?<![\w-]){re.escape(name)}(?![\w-])" for name in longest) or r"(?!)", re.IGNORECASE
        )
        self._folded = {name.lower(): other for name, other in self._others.items()}

    def __call__(self, text: str) -> str:
        return self._pattern.sub(lambda found: self._folded[found[0].lower()], text)
