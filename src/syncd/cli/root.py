"""`syncd` itself: finds a verb's file when it is asked for; turns every error into three lines and an exit code."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from syncd import __version__
from syncd.cli.exits import Exit, exit_of
from syncd.cli.output import Failure, print_failure, say

VERBS = {
    "demo": "demo:demo",
    "run": "run:run",
    "check": "check:check",
    "status": "status:status",
    "top": "top:top",
    "changes": "changes:changes",
    "doctor": "doctor:doctor",
    "verify": "verify:verify",
    "log-level": "log_level:log_level",
    "runbook": "runbook:runbook",
    "sync": "sync:sync",
    "plan": "plan:plan",
    "push": "push:push",
    "backfill": "backfill:backfill",
    "drift": "drift:drift",
    "adapters": "adapters:adapters",
    "renormalize": "renormalize:renormalize",
    "dryrun": "dryrun:dryrun",
    "contract": "contract:contract",
    "reconcile": "control:reconcile",
    "pause": "control:pause",
    "resume": "control:resume",
    "breaker": "breaker:breaker",
    "reload": "control:reload",
    "records": "records:records",
    "evidence": "evidence:evidence",
    "bundle": "bundle:bundle",
    "webhook": "webhook:webhook",
    "dlq": "dlq:dlq",
    "credential": "credential:credential",
    "key": "key:key",
    "migrate": "migrate:migrate",
    "schema": "schema:schema",
    "sim": "sim:sim",
    "new": "new:new",
    "memory": "memory:memory",
    "healthcheck": "healthcheck:healthcheck",
    "alerts": "alerts:alerts",
    "dashboards": "alerts:dashboards",
    "man": "man:man",
    "completion": "completion:completion",
}
"""Verb -> file:name, in the order of `syncd --help`: first what a newcomer needs, then what an operator needs."""

FAMILIES = frozenset({"schema", "push", "records", "dlq", "credential", "key", "webhook", "alerts", "new"})


class Root(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        place = VERBS.get(cmd_name)
        if place is None:
            return None
        file, _, name = place.partition(":")
        found = getattr(importlib.import_module(f"syncd.cli.{file}"), name)
        assert isinstance(found, click.Command)
        if "_SYNCD_COMPLETE" in os.environ:
            from syncd.cli.completion import teach

            teach(found)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        word = args[0]
        if not word.startswith("-") and self.get_command(ctx, word) is None and not ctx.resilient_parsing:
            import difflib

            close = difflib.get_close_matches(word, self.list_commands(ctx), n=1)
            ctx.fail(f"no command {word!r}." + (f" Did you mean {close[0]!r}?" if close else ""))
        return super().resolve_command(ctx, args)

    def main(  # type: ignore[override]
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> NoReturn:
        words = list(sys.argv[1:] if args is None else args)
        extra["standalone_mode"] = False
        try:
            code = super().main(words, prog_name or "syncd", **extra)
        except BaseException as error:
            code = _ended(error, words)
        sys.exit(int(code) if isinstance(code, int) else Exit.OK)


def _ended(error: BaseException, words: Sequence[str]) -> int:
    """Say what ended the command; its exit code."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else Exit.FAILURES
    if "--debug" in words:
        import traceback

        say("".join(traceback.format_exception(error)))
    if isinstance(error, BaseExceptionGroup):
        error = _first(error)
    if isinstance(error, click.ClickException):
        error.show()
        return error.exit_code
    if isinstance(error, click.Abort | KeyboardInterrupt):
        say("interrupted")
        return Exit.INTERRUPTED
    if isinstance(error, BrokenPipeError):
        # The reader (`| head`) has enough; nothing must be flushed into the closed pipe at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.OK
    named = [word for word in words if not word.startswith("-")]
    verb = " ".join(named[: 2 if named and named[0] in FAMILIES else 1])
    text = str(error) or type(error).__name__
    hint = getattr(error, "hint", "")
    if not _ours(error):
        text = f"{type(error).__name__}: {text}"
        hint = "again with --debug shows where; it is a fault of syncd's, please report it"
    print_failure(f"syncd {verb} failed".replace("  ", " "), text, hint)
    return exit_of(error)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The most telling of several: one of ours before any other."""
    flat = [_first(found) if isinstance(found, BaseExceptionGroup) else found for found in group.exceptions]
    return next((error for error in flat if _ours(error) or isinstance(error, Failure)), flat[0])


def _ours(error: BaseException) -> bool:
    from syncd.errors import SyncdError

    return isinstance(error, SyncdError)


@click.group(
    "syncd",
    cls=Root,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Exit codes: 0 done, 1 done with failures, 2 usage, 69 daemon unreachable, 75 try later, 77 credential "
    "refused, 78 configuration invalid, 130 interrupted.",
)
@click.version_option(__version__, message="%(prog)s %(version)s")
def cli() -> None:
    """Keep a copy of your partners' records in your own PostgreSQL: complete, fresh, within every limit.

    New here? `syncd demo` needs no account, key or database.
    """
