"""Logging: structlog, one line an event, JSON unless on a terminal, every line redacted before it is written.

Event names are past tense; keys are the same everywhere (partner, integration, resource, record_id, attempt, status,
duration_ms). Lines of the standard library's logging (httpx, aiohttp, asyncpg, asyncio) pass the same wall. `Said` says
a trouble once when it breaks and once when it heals.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import threading
import traceback
from collections import deque
from collections.abc import Hashable, Mapping
from types import TracebackType
from typing import IO, Any, ClassVar, Literal, cast

import orjson
import structlog

from syncd import spans
from syncd.clock import Clock, SystemClock
from syncd.levels import Levels
from syncd.redaction import KNOWN, LONGEST, tidy
from syncd.redaction import redact as redact  # what others write out by themselves passes it too

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["auto", "json", "console"]

_NUMBERS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
_PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
"""syslog's, which journald reads from a `<N>` prefix."""
LATEST = 500
"""Finished lines that are remembered, for who looks when no journal keeps them."""
_CHATTY = ("httpx", "httpcore", "aiohttp", "asyncpg", "hpack", "urllib3", "charset_normalizer", "markdown_it")


class _State:
    """What `configure` set; one process has one log."""

    level = 20
    render_json = True
    prefix = False
    colours = False
    stream: IO[str] | None = None
    clock: Clock = SystemClock()
    lost = 0
    latest: ClassVar[deque[str]] = deque(maxlen=LATEST)


_state = _State()
_levels = Levels()
_lock = threading.Lock()


class Logger(structlog.BoundLoggerBase):
    """`log.info("page_stored", partner=..., records=100)`. Below the level in force a call costs one comparison."""

    def debug(self, event: str, **fields: Any) -> None:
        if _state.level <= 10:
            self._proxy_to_logger("debug", event, **fields)

    def info(self, event: str, **fields: Any) -> None:
        if _state.level <= 20:
            self._proxy_to_logger("info", event, **fields)

    def warning(self, event: str, **fields: Any) -> None:
        if _state.level <= 30:
            self._proxy_to_logger("warning", event, **fields)

    def error(self, event: str, **fields: Any) -> None:
        self._proxy_to_logger("error", event, **fields)

    def critical(self, event: str, **fields: Any) -> None:
        self._proxy_to_logger("critical", event, **fields)

    def exception(self, event: str, **fields: Any) -> None:
        """An error with the traceback of the exception being handled."""
        self._proxy_to_logger("error", event, **{"exc_info": True, **fields})

    def log(self, level: int, event: str, *unused: object, **fields: Any) -> None:
        """At a level of the standard library's numbers. Fields are named; there is nothing to format into an event."""
        if level >= _state.level:
            name = max((number, name) for name, number in _NUMBERS.items() if number <= max(level, 10))[1]
            self._proxy_to_logger(name, event, **fields)


class _Output:
    """structlog's innermost logger: receives finished lines."""

    def debug(self, line: str) -> None:
        write(line)

    info = warning = error = critical = debug


def write(line: str) -> None:
    """Write one finished line. A full disk or a closed pipe loses the line and is counted, it never stops the work."""
    stream = _state.stream or sys.stderr
    _state.latest.append(line)
    try:
        with _lock:
            stream.write(line + "\n")
            stream.flush()
    except (OSError, ValueError):
        _state.lost += 1


def latest_lines() -> list[str]:
    """The latest finished lines, the oldest first: redacted, as they were written."""
    return list(_state.latest)


def lost_lines() -> int:
    """Lines that could not be written since the start."""
    return _state.lost


def configure(
    level: Level = "info",
    format: Format = "auto",
    stream: IO[str] | None = None,
    *,
    clock: Clock | None = None,
    env: Mapping[str, str] | None = None,
) -> None:
    """Set the log up; may be called again (a reload), then it replaces the former settings, never adds to them.

    `stream` defaults to stderr. `auto` is the console form on a terminal and JSON elsewhere; under journald (whose
    stream JOURNAL_STREAM names) each line begins with its priority.
    """
    environment = os.environ if env is None else env
    target = stream or sys.stderr
    terminal = _is_terminal(target)
    _state.stream = stream
    _state.clock = clock or SystemClock()
    _state.render_json = format == "json" or (format == "auto" and not terminal)
    _state.colours = terminal and not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"
    _state.prefix = _is_journal(target, environment.get("JOURNAL_STREAM", ""))
    set_level(level)
    _use_structlog()
    root = logging.getLogger()
    for handler in [h for h in root.handlers if isinstance(h, _Bridge)]:
        root.removeHandler(handler)
    root.addHandler(_Bridge())
    logging.captureWarnings(True)
    for name in _CHATTY:
        # Below WARNING they narrate every header and body chunk; our own line per call says what matters.
        logging.getLogger(name).setLevel(logging.WARNING)
    sys.excepthook = _say_crash
    threading.excepthook = lambda args: _say_crash(args.exc_type, args.exc_value, args.exc_traceback)


def _use_structlog() -> None:
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, _finish],
        wrapper_class=Logger,
        logger_factory=lambda *args: _Output(),
        cache_logger_on_first_use=False,
    )


def set_level(level: Level) -> None:
    """Change the level of the running process, for every logger at once."""
    _levels.configured = _NUMBERS[level]
    _take_levels()


def set_level_for_a_while(integration: str, level: Level | None) -> None:
    """Beside the configured level another one, of one integration or (empty) of everything; None: no longer."""
    if level is None:
        _levels.for_a_while.pop(integration, None)
    else:
        _levels.for_a_while[integration] = _NUMBERS[level]
    _take_levels()


def _take_levels() -> None:
    _state.level = _levels.lowest
    logging.getLogger().setLevel(max(_state.level, logging.INFO))


def level() -> str:
    """The configured level."""
    return next(name for name, number in _NUMBERS.items() if number == _levels.configured)


def get_logger(**fields: Any) -> Logger:
    """A logger that adds these fields to each of its lines."""
    # A lazy proxy, so that loggers made at import time obey a later configure().
    return cast(Logger, structlog.get_logger(**fields))


def _finish(logger: object, method: str, event: Mapping[str, Any]) -> str:
    """The last processor: an event becomes one redacted line."""
    if _levels.for_a_while and _NUMBERS.get(method, 40) < _levels.of(str(event.get("integration", ""))):
        raise structlog.DropEvent
    fields = dict(event)
    head: dict[str, Any] = {
        "timestamp": _state.clock.now().isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": fields.pop("level", method),
        "event": fields.pop("event", ""),
    }
    if (ids := spans.current()) is not None:
        fields["trace_id"], fields["span_id"] = ids
    exc_info = fields.pop("exc_info", None)
    exception = _traceback(exc_info) if exc_info else ""
    clean = tidy({**head, **fields})
    if exception:
        clean["exception"] = KNOWN.mask(exception[-4 * LONGEST :])[-2 * LONGEST :]  # two cuts, as in _text
    line = _as_json(clean) if _state.render_json else _as_console(clean)
    prefix = f"<{_PRIORITIES.get(str(clean['level']), 6)}>" if _state.prefix else ""
    return prefix + KNOWN.mask(line)


def _traceback(exc_info: Any) -> str:
    if isinstance(exc_info, BaseException):
        error: BaseException | None = exc_info
    elif isinstance(exc_info, tuple):
        error = exc_info[1]
    else:
        error = sys.exc_info()[1]
    if error is None:
        return ""
    try:
        return "".join(traceback.format_exception(error)).rstrip()
    except Exception:  # an exception whose own text fails to form must not take the log down
        return f"{type(error).__name__} (its text cannot be formed)"


def _as_json(fields: dict[str, Any]) -> str:
    try:
        return orjson.dumps(fields, option=orjson.OPT_NON_STR_KEYS).decode()
    except (orjson.JSONEncodeError, UnicodeEncodeError):  # an int past 64 bits, a lone surrogate
        return json.dumps(fields, default=repr)


def _as_console(fields: dict[str, Any]) -> str:
    exception = fields.pop("exception", "")
    renderer = structlog.dev.ConsoleRenderer(colors=_state.colours, pad_event_to=28)
    line = str(renderer(None, str(fields["level"]), fields))
    return f"{line}\n{exception}" if exception else line


class _Bridge(logging.Handler):
    """Lines of the standard library's logging, on their way through the same processor."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno < _state.level:
            return
        try:
            message = record.getMessage()
        except Exception:  # wrong arguments, or a Secret among them: say that much, with no value
            message = f"(unreadable log message of {record.name}:{record.lineno})"
        name = record.levelname.lower()
        fields = {
            "event": message,
            "level": name if name in _NUMBERS else "info",
            "logger": record.name,
            "exc_info": record.exc_info,
        }
        with contextlib.suppress(Exception):
            write(_finish(None, name, fields))


def _say_crash(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    """Python's own report of an uncaught exception goes round the log; this one does not."""
    if issubclass(kind, KeyboardInterrupt):
        return
    write(_finish(None, "critical", {"event": "crashed", "level": "critical", "exc_info": (kind, error, trace)}))


def _is_terminal(stream: IO[str]) -> bool:
    try:
        return stream.isatty()
    except (AttributeError, ValueError):
        return False


def _is_journal(stream: IO[str], named: str) -> bool:
    """systemd sets JOURNAL_STREAM to `device:inode` of the stream it connected; a redirected one does not match."""
    try:
        state = os.fstat(stream.fileno())
    except (OSError, ValueError, AttributeError):
        return False
    return named == f"{state.st_dev}:{state.st_ino}"


class Said:
    """Says a repeated trouble once when it breaks and once when it heals.

    Holds at most `most` troubles; beyond that the oldest is forgotten (and would be said again).
    """

    def __init__(self, logger: Logger, clock: Clock, *, most: int = 1_000) -> None:
        self._logger = logger
        self._clock = clock
        self._most = most
        self._broken: dict[Hashable, list[float]] = {}

    def broke(self, key: Hashable, event: str, *, level: Level = "warning", **fields: Any) -> bool:
        """Log the event unless this trouble has been said already. True if it was said now."""
        held = self._broken.get(key)
        if held is not None:
            held[1] += 1
            return False
        if len(self._broken) >= self._most:
            del self._broken[next(iter(self._broken))]
        self._broken[key] = [self._clock.monotonic(), 1]
        getattr(self._logger, level)(event, **fields)
        return True

    def healed(self, key: Hashable, event: str, **fields: Any) -> bool:
        """Log the event, how long it lasted and how often it was met, if it had been said. True if said now."""
        held = self._broken.pop(key, None)
        if held is None:
            return False
        lasted = round(self._clock.monotonic() - held[0], 3)
        self._logger.info(event, lasted_seconds=lasted, times=int(held[1]), **fields)
        return True

    def is_broken(self, key: Hashable) -> bool:
        return key in self._broken


# Whoever logs before configure() was called, or never calls it, stands behind the same wall.
_use_structlog()
