"""A simulator's second opinion: is each request that arrives, and each answer that leaves, as its partner has published?

The simulator is written from the partner's prose, the driver too; a mistake both share shows only here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl

import orjson
from aiohttp import web

from syncd.contract import Problem, Specification
from syncd.contract.defects import DEFECTS
from syncd.contract.specification import form_of
from syncd.testing import published
from syncd.testing.call import Call

SHOWN: Final = 20


class ContractWatch:
    """Counts what is not as documented. Made for one simulator; reads the documents once."""

    def __init__(self, name: str, files: Sequence[str] | bool) -> None:
        """`files` True: those that are known of this partner. Raises ConfigError where they cannot be read."""
        if files is True:
            self.specification = published.specification(name)
        else:
            paths = [Path(file) for file in files or ()]
            self.specification = Specification.read(
                *paths, defects=DEFECTS.get(name, ()), partial=name in published.PARTIAL
            )
        self.requests = 0
        self.answers = 0
        self.problems: dict[str, int] = {}
        """In words: how often."""

    def request(self, call: Call) -> None:
        """A request, as soon as its body is here."""
        self.requests += 1
        asked = call.request
        json, form = None, None
        if call.body:
            if "form" in asked.content_type:
                form = form_of(call.body)
            elif "xml" not in asked.content_type:
                try:
                    json = orjson.loads(call.body)
                except ValueError:
                    self._note([Problem(call.where, "request", "body", "type", "is neither JSON nor a form")])
        query = parse_qsl(asked.rel_url.raw_query_string, keep_blank_values=True)
        self._note(
            self.specification.request(
                asked.method, asked.rel_url.raw_path, query, json=json, form=form, headers=asked.headers
            )
        )

    def answer(self, call: Call, response: web.Response) -> None:
        """An answer of the simulator's own making, before it is packed."""
        if response.content_type != "application/json" or not isinstance(response.body, bytes):
            return
        self.answers += 1
        asked = call.request
        body = orjson.loads(response.body) if response.body else None
        self._note(self.specification.answer(asked.method, asked.rel_url.raw_path, response.status, body))

    def view(self) -> dict[str, Any]:
        shown = sorted(self.problems, key=lambda told: -self.problems[told])[:SHOWN]
        return {
            "requests": self.requests,
            "answers": self.answers,
            "problems": {told: self.problems[told] for told in shown},
        }

    def _note(self, problems: list[Problem]) -> None:
        for problem in problems:
            told = str(problem)
            self.problems[told] = self.problems.get(told, 0) + 1
