"""The log: one redacted line an event, whoever wrote it."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import sys
import threading
import warnings

import pytest
import structlog

from syncd import log
from syncd.secrets import Secret
from syncd.testing.clock import FakeClock

TOKEN = "planted-token-0001"


@pytest.fixture
def out():
    """A configured log into memory; what the process had before, `tests/conftest.py` puts back."""
    stream = io.StringIO()
    Secret(TOKEN)
    log.configure("debug", "json", stream, clock=FakeClock())
    return stream


def lines(stream) -> list[dict]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_one_line_with_time_level_and_its_fields(out):
    log.get_logger(partner="guesty").info("page_stored", resource="listings", records=100)
    (line,) = lines(out)
    assert list(line)[:3] == ["timestamp", "level", "event"]
    assert line["timestamp"].endswith("Z")
    assert {key: line[key] for key in ("level", "event", "partner", "resource", "records")} == {
        "level": "info",
        "event": "page_stored",
        "partner": "guesty",
        "resource": "listings",
        "records": 100,
    }


@pytest.mark.parametrize(
    "fields",
    [
        {"url": f"https://x.example/?q={TOKEN}"},
        {"nested": {"a": [{"b": (TOKEN, f"x{TOKEN}y")}]}},
        {f"key-{TOKEN}": 1},
        {"bytes": TOKEN.encode()},
        {"error": ValueError(f"bad {TOKEN}")},
        {"set": {TOKEN}},
        {"long": "x" * 8_185 + TOKEN},
        {"longer": "x" * 16_376 + TOKEN},
        {"deep": [[[[[[[[TOKEN]]]]]]]]},
        {"object": type("Odd", (), {"__repr__": lambda self: TOKEN})()},
    ],
    ids=lambda fields: next(iter(fields))[:8],
)
def test_a_known_secret_is_masked_wherever_it_stands(out, fields):
    log.get_logger().warning("call_failed", **fields)
    assert TOKEN not in out.getvalue()
    assert "planted-t" not in out.getvalue()
    assert len(lines(out)) == 1


def test_a_secret_in_the_event_itself_is_masked(out):
    log.get_logger().info(f"refreshed {TOKEN}")
    assert lines(out)[0]["event"] == "refreshed ****"


@pytest.mark.parametrize(
    "name",
    ["authorization", "Authorization", "Proxy-Authorization", "token", "access_token", "client_secret", "password", "api_key",
     "X-Api-Key", "cookie", "guesty_client_secret", "Stripe-Signature", "refresh_token"],
)  # fmt: skip
def test_a_key_that_names_a_credential_loses_its_value(out, name):
    log.get_logger().info(
        "sent",
        headers={name: "unknown-value"},
        pairs=[(name, "unknown-value")],
        raw=[(name.encode(), b"unknown-value")],
    )
    assert "unknown-value" not in out.getvalue()


def test_keys_that_only_sound_alike_keep_their_value(out):
    log.get_logger().info("counted", tokens=5, author="Ann", secretary="Bob", keys=["a"])
    line = lines(out)[0]
    assert (line["tokens"], line["author"], line["secretary"], line["keys"]) == (5, "Ann", "Bob", ["a"])


def test_an_exception_and_its_causes_are_masked(out):
    try:
        try:
            raise OSError(f"refused {TOKEN}")
        except OSError as cause:
            raise RuntimeError(f"outer {TOKEN}") from cause
    except RuntimeError:
        log.get_logger().exception("run_failed")
    (line,) = lines(out)
    assert TOKEN not in out.getvalue()
    assert "OSError: refused ****" in line["exception"]
    assert "RuntimeError: outer ****" in line["exception"]


def test_an_endless_exception_text_is_cut(out):
    try:
        raise ValueError("x" * 1_000_000 + TOKEN)
    except ValueError:
        log.get_logger().exception("run_failed")
    assert len(out.getvalue()) < 20_000
    assert TOKEN not in out.getvalue()


def test_an_exception_that_cannot_be_printed_does_not_stop_the_log(out):
    class Broken(Exception):
        def __str__(self):
            raise RuntimeError("no text")

    try:
        raise Broken
    except Broken:
        log.get_logger().exception("run_failed", error=Broken())
    assert lines(out)[0]["event"] == "run_failed"


@pytest.mark.parametrize(
    "value",
    [2**80, float("nan"), "\ud800", {1: {2: 3}}, {"a": {1, 2}}, b"\xff", object()],
    ids=["huge", "nan", "surrogate", "number key", "set", "bytes", "object"],
)
def test_no_value_stops_the_log(out, value):
    log.get_logger().info("odd_value", value=value)
    assert lines(out)[0]["event"] == "odd_value"


def test_a_secret_object_shows_as_nothing(out):
    log.get_logger().info("odd", credential=Secret(TOKEN), many=[Secret(TOKEN)])
    assert lines(out)[0]["credential"] == "Secret(****)"


def test_the_standard_librarys_lines_pass_the_same_wall(out):
    logging.getLogger("asyncpg").warning("connecting with %s", TOKEN)
    logging.getLogger("aiohttp.server").error("bad", exc_info=ValueError(f"in {TOKEN}"))
    first, second = lines(out)
    assert (first["logger"], first["level"], first["event"]) == ("asyncpg", "warning", "connecting with ****")
    assert "in ****" in second["exception"]


def test_chatty_libraries_are_silent_below_warning_even_at_debug(out):
    for name in ("httpx", "httpcore.http11", "aiohttp.access", "asyncpg"):
        logging.getLogger(name).info("sent %s", TOKEN)
        logging.getLogger(name).debug("sent %s", TOKEN)
    assert out.getvalue() == ""


def test_a_secret_as_argument_of_a_foreign_line_neither_shows_nor_raises(out):
    (bridge,) = [handler for handler in logging.getLogger().handlers if isinstance(handler, log._Bridge)]
    bridge.handle(logging.LogRecord("some.package", 30, "x.py", 1, "credential %s", (Secret(TOKEN),), None))
    assert "unreadable log message of some.package" in lines(out)[0]["event"]


def test_warnings_and_lost_tasks_pass_the_wall_too(out):
    warnings.warn(f"deprecated {TOKEN}", stacklevel=1)

    async def lose():
        future = asyncio.get_running_loop().create_future()
        future.set_exception(ValueError(f"lost {TOKEN}"))

    asyncio.run(lose())
    text = out.getvalue()
    assert "deprecated ****" in text
    assert "lost ****" in text
    assert TOKEN not in text


def test_a_crash_report_is_a_redacted_line(out):
    sys.excepthook(ValueError, ValueError(f"crashed {TOKEN}"), None)
    thread = threading.Thread(target=lambda: (_ for _ in ()).throw(RuntimeError(TOKEN)))
    thread.start()
    thread.join()
    first, second = lines(out)
    assert (first["event"], first["level"]) == ("crashed", "critical")
    assert "ValueError: crashed ****" in first["exception"]
    assert "RuntimeError: ****" in second["exception"]


def test_the_level_changes_while_running(out):
    logger = log.get_logger()
    log.set_level("warning")
    logger.info("unheard")
    logging.getLogger("some.package").info("unheard")
    assert (out.getvalue(), log.level()) == ("", "warning")
    log.set_level("debug")
    logger.debug("heard")
    assert lines(out)[0]["event"] == "heard"


def test_a_level_may_be_a_number(out):
    logger = log.get_logger()
    for number in (10, 20, 25, 30, 40, 50):
        logger.log(number, "said")
    assert [line["level"] for line in lines(out)] == ["debug", "info", "info", "warning", "error", "critical"]
    log.set_level("error")
    logger.log(30, "unheard")
    logger.critical("heard")
    assert lines(out)[-1]["level"] == "critical"
    assert len(lines(out)) == 7


def test_configuring_again_replaces_and_never_doubles(out):
    second = io.StringIO()
    log.configure("info", "json", second, clock=FakeClock())
    logging.getLogger("some.package").warning("once")
    log.get_logger().info("once")
    assert (out.getvalue(), len(lines(second))) == ("", 2)


def test_loggers_made_before_configuring_obey_it(out):
    logger = log.get_logger(partner="early")
    later = io.StringIO()
    log.configure("info", "json", later, clock=FakeClock())
    logger.info("said")
    assert lines(later)[0]["partner"] == "early"


def test_under_journald_each_line_begins_with_its_priority(tmp_path, out):
    with (tmp_path / "journal").open("w+") as stream:
        import os

        state = os.fstat(stream.fileno())
        log.configure(
            "debug", "auto", stream, clock=FakeClock(), env={"JOURNAL_STREAM": f"{state.st_dev}:{state.st_ino}"}
        )
        for name in ("debug", "info", "warning", "error"):
            getattr(log.get_logger(), name)("said")
        stream.seek(0)
        assert [line[:3] for line in stream] == ["<7>", "<6>", "<4>", "<3>"]


def test_another_stream_than_journalds_has_no_prefix(out):
    log.configure("info", "json", out, clock=FakeClock(), env={"JOURNAL_STREAM": "1:2"})
    log.get_logger().info("said")
    assert out.getvalue().startswith("{")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_on_a_terminal_people_get_the_console_form_masked_all_the_same(out):
    screen = Terminal()
    log.configure("info", "auto", screen, clock=FakeClock(), env={"NO_COLOR": "1"})
    try:
        raise ValueError(TOKEN)
    except ValueError:
        log.get_logger().exception("run_failed", url=f"https://x/?a={TOKEN}", partner="guesty")
    text = screen.getvalue()
    assert "run_failed" in text
    assert "partner=guesty" in text
    assert "ValueError: ****" in text
    assert TOKEN not in text
    assert "\x1b[" not in text


def test_a_full_disk_loses_the_line_and_counts_it(out):
    class Full(io.StringIO):
        def write(self, text):
            raise OSError(28, "No space left on device")

    before = log.lost_lines()
    log.configure("info", "json", Full(), clock=FakeClock())
    log.get_logger().info("said")
    assert log.lost_lines() == before + 1


def test_context_fields_are_added(out):
    with structlog.contextvars.bound_contextvars(run_id=7):
        log.get_logger().info("said")
    assert lines(out)[0]["run_id"] == 7


def test_redact_serves_other_outputs_too(out):
    assert log.redact({"headers": {"Authorization": "x"}, "body": f"a {TOKEN}"}) == {
        "headers": {"Authorization": "****"},
        "body": "a ****",
    }


async def test_a_trouble_is_said_once_and_its_healing_once(out):
    clock = FakeClock()
    said = log.Said(log.get_logger(), clock)
    assert said.broke("guesty", "partner_unreachable", partner="guesty")
    await clock.advance(60)
    assert not said.broke("guesty", "partner_unreachable", partner="guesty")
    assert said.is_broken("guesty")
    assert said.healed("guesty", "partner_reachable", partner="guesty")
    assert not said.healed("guesty", "partner_reachable", partner="guesty")
    first, second = lines(out)
    assert (first["level"], first["event"]) == ("warning", "partner_unreachable")
    assert (second["event"], second["lasted_seconds"], second["times"]) == ("partner_reachable", 60.0, 2)


def test_the_memory_of_troubles_is_bounded(out):
    said = log.Said(log.get_logger(), FakeClock(), most=3)
    for number in range(5):
        said.broke(number, "broke")
    assert [said.is_broken(number) for number in range(5)] == [False, False, True, True, True]
