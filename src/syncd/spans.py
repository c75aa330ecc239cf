"""Traces, as far as the rest of syncd knows of them: a span round a piece of work, and nothing at all where nobody listens.

Who listens is `telemetry/`, where `tracing` is configured; without it a span costs one comparison. Which trace a piece of
work belongs to is told by a key that its row has anyway (`webhook_key`): so a delivery's trace goes on wherever it is worked
on, by whichever instance, and after any death, and no row carries anything for it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from types import TracebackType
from typing import Any, Literal, Protocol

Kind = Literal["internal", "server", "client", "consumer", "producer"]
Attributes = Mapping[str, Any]


class Span(Protocol):
    """One piece of work."""

    def set(self, name: str, value: Any) -> None:
        """Add an attribute."""

    def failed(self, kind: str) -> None:
        """It ended badly: the class of the error, never its text."""


class Listener(Protocol):
    """Takes spans."""

    def span(
        self,
        name: str,
        kind: Kind,
        attributes: Attributes,
        *,
        trace: str,
        root: bool,
        links: Sequence[Span],
        apart: bool,
    ) -> AbstractContextManager[Span]: ...

    def within(self, span: Span) -> AbstractContextManager[Span]: ...

    def record(
        self, name: str, kind: Kind, attributes: Attributes, began_at: datetime, ended_at: datetime, *, trace: str,
        root: bool, below: Sequence[tuple[str, Kind, Attributes]],
    ) -> None: ...  # fmt: skip

    def current(self) -> tuple[str, str] | None: ...


class _Nothing:
    """A span nobody listens to."""

    def __enter__(self) -> Span:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def set(self, name: str, value: Any) -> None:
        return None

    def failed(self, kind: str) -> None:
        return None


_NOTHING = _Nothing()


class _State:
    """One process has one listener."""

    listener: Listener | None = None
    propagates = False


def listen(listener: Listener | None, *, propagates: bool = False) -> None:
    """Hand every span to this one from now on; None: to nobody. `propagates`: partners are told of them, too."""
    _State.listener, _State.propagates = listener, propagates


def on() -> bool:
    """Does anybody listen? For those who would have to look something up for a span."""
    return _State.listener is not None


def span(
    name: str,
    kind: Kind = "internal",
    attributes: Attributes | None = None,
    *,
    trace: str = "",
    root: bool = False,
    links: Sequence[Span] = (),
    apart: bool = False,
) -> AbstractContextManager[Span]:
    """Round a piece of work: below the span that is current, or in the trace of this key. What it raises is noted.

    `root`: it stands below none in that trace, which may have several that do. `apart`: it stands below none, nor anything
    below it unless that goes on `within` it.
    """
    listener = _State.listener
    if listener is None:
        return _NOTHING
    return listener.span(name, kind, attributes or {}, trace=trace, root=root, links=links, apart=apart)


def within(span: Span) -> AbstractContextManager[Span]:
    """What happens inside stands below this one."""
    return _NOTHING if _State.listener is None else _State.listener.within(span)


def record(
    name: str,
    kind: Kind,
    attributes: Attributes,
    began_at: datetime,
    ended_at: datetime,
    *,
    trace: str,
    root: bool = False,
    below: Sequence[tuple[str, Kind, Attributes]] = (),
) -> None:
    """A piece of work that is over, in the trace of this key. `root`: what the others of that trace stand below. `below`:
    what it was done by, each as long as the whole."""
    if _State.listener is not None:
        _State.listener.record(name, kind, attributes, began_at, ended_at, trace=trace, root=root, below=below)


def current() -> tuple[str, str] | None:
    """The ids of trace and span that are current, in hexadecimal; None also where they are not among those sent."""
    return None if _State.listener is None else _State.listener.current()


def traceparent() -> str:
    """What tells a partner which span it works for (W3C Trace Context); empty where it is not to be told."""
    ids = current() if _State.propagates else None
    return "" if ids is None else f"00-{ids[0]}-{ids[1]}-01"


_WEBHOOK = re.compile(r"(?:task \d+(?:: |$))*webhook (.+)\Z", re.DOTALL)


def webhook_key(integration: str, event_id: str) -> str:
    """Of the trace of a delivery."""
    return f"{integration}\0webhook\0{event_id}"


def key_of(integration: str, cause: str) -> str:
    """Of the trace that this cause of a row belongs to; empty: none of its own."""
    found = _WEBHOOK.match(cause)
    return "" if found is None else webhook_key(integration, found[1])
