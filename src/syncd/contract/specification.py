"""A published specification as a judge: of one request, of one answer. Pure; documents are read once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl

from syncd.contract import values
from syncd.contract.documents import Operation, Paths, read_document, resolve
from syncd.contract.schemas import Misfit, Schemas
from syncd.kit.paths import steps

_OURS: Final = frozenset({"authorization", "accept", "content-type"})
"""Headers of which OpenAPI says that parameters of these names mean nothing."""
FORM: Final = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is not as the document says."""

    operation: str
    """Method and template, or method and path where the document has none such."""
    side: str
    """`request` or `answer`."""
    place: str
    """Where: `query limit`, `header X-Version`, `path id`, `body data.values`, `200 data[].id`."""
    keyword: str
    told: str

    def __str__(self) -> str:
        return f"{self.operation}: {self.side} {self.place}: {self.told}"


@dataclass(frozen=True, slots=True)
class Defect:
    """Where the document itself is wrong or older than the partner, and how that is known.

    `where` is compared with "operation: side place", with * for anything; `keyword` with what is wrong there, if given.
    """

    where: str
    why: str
    keyword: str = ""

    def covers(self, problem: Problem) -> bool:
        told = f"{problem.operation}: {problem.side} {problem.place}"
        return self.keyword in {"", problem.keyword} and fnmatchcase(told, self.where.replace("[]", "[[]]"))


class Specification:
    """The documents of one partner. Raises ConfigError where one cannot be read or jsonschema is missing."""

    def __init__(
        self, documents: Sequence[Mapping[str, Any]], defects: Sequence[Defect] = (), *, partial: bool = False
    ) -> None:
        """`partial`: they do not have all of the partner's paths, so that an unknown one proves nothing."""
        self.defects = tuple(defects)
        self.partial = partial
        self._paths = Paths(documents)
        self._schemas = {id(document): Schemas(document) for document in documents}
        self._cut = {id(document): Schemas(document, whole=False) for document in documents}
        self.covered: set[Defect] = set()
        """The defects that were met so far."""

    @classmethod
    def read(cls, *files: Path, defects: Sequence[Defect] = (), partial: bool = False) -> Specification:
        """From files, the newest last."""
        return cls([read_document(file) for file in files], defects, partial=partial)

    def __len__(self) -> int:
        return len(self._paths)

    def operation(self, method: str, path: str) -> Operation | None:
        """The operation of a call; `path` from the root of the host."""
        return self._paths.find(method, path)

    def request(
        self,
        method: str,
        path: str,
        query: Iterable[tuple[str, str]] = (),
        *,
        json: Any = None,
        form: Iterable[tuple[str, str]] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> list[Problem]:
        """What of a call is not as documented. `headers` None: they are not looked at."""
        found = self.operation(method, path)
        if found is None:
            if self.partial:
                return []
            return self._known(Problem(f"{method} {path}", "request", "path", "path", "no such method of no such path"))
        problems = self._of_parameters(found, list(query), headers)
        problems += self._of_body(found, json, None if form is None else list(form))
        return self._known(*(Problem(str(found), "request", *each) for each in problems))

    def answer(
        self, method: str, path: str, status: int, body: Any, *, whole: bool = True, below: str | None = None
    ) -> list[Problem]:
        """What of an answer is not as documented. `whole` False: members may be left out, as in a sample cut short.

        `below`: only what lies there is looked at. Statuses of failures that the document does not list are passed over.
        """
        found = self.operation(method, path)
        if found is None:
            return []
        told = {
            str(each): answer for each, answer in found.told.get("responses", {}).items()
        }  # YAML reads 200 as a number
        listed = next((told[each] for each in (str(status), f"{status // 100}XX", "default") if each in told), None)
        if listed is None:
            if status >= 300:
                return []
            return self._known(Problem(str(found), "answer", str(status), "status", "a status that is not listed"))
        schema = _json_schema(resolve(found.document, listed).get("content"))
        if schema is None or body is None:
            return []
        misfits = (self._schemas if whole else self._cut)[id(found.document)].misfits(schema, body, strict=False)
        return self._known(
            *(
                Problem(str(found), "answer", f"{status} {each.place}".strip(), each.keyword, each.told)
                for each in misfits
                if below is None or each.place.startswith(below)
            )
        )

    def record(self, method: str, path: str, place: str, raw: Any) -> list[Problem]:
        """What of one record, as it sits at `place` of a sound answer, is not as documented."""
        found = self.operation(method, path)
        way = steps(place)
        if found is None or way is None:
            return []
        status = next(
            (each for each in ("200", "201", "2XX", "default") if each in found.told.get("responses", {})), "200"
        )
        number = int(status) if status.isdigit() else 200
        where = ".".join(map(str, way))
        for inside in ([raw], raw):
            body: Any = inside
            for step in reversed(way):
                body = {step: body}
            problems = self.answer(method, path, number, body, whole=False, below=where)
            if inside is raw or not any(one.place == f"{number} {where}".strip() for one in problems):
                break
        return problems

    # Parts of a request.

    def _of_parameters(
        self, found: Operation, query: list[tuple[str, str]], headers: Mapping[str, str] | None
    ) -> list[tuple[str, str, str]]:
        problems: list[tuple[str, str, str]] = []
        stated = {one["name"]: one for one in found.parameters if one.get("in") == "query"}
        given = values.grouped(query, stated)
        schemas = self._schemas[id(found.document)]
        for name, entries in given.items():
            one = stated.get(name)
            if one is None:
                problems.append((f"query {name}", "parameter", "is no parameter that is stated"))
                continue
            problems += self._of_value(found, schemas, f"query {name}", one, values.tree(entries))
        for name, one in stated.items():
            if one.get("required") and name not in given:
                problems.append((f"query {name}", "required", "is missing"))
        for one in found.parameters:
            name = one.get("name", "")
            if one.get("in") == "path" and name in found.found:
                problems += self._of_value(found, schemas, f"path {name}", one, found.found[name])
            elif one.get("in") == "header" and headers is not None and name.lower() not in _OURS:
                value = next((text for each, text in headers.items() if each.lower() == name.lower()), None)
                if value is not None:
                    problems += self._of_value(found, schemas, f"header {name}", one, value)
                elif one.get("required"):
                    problems.append((f"header {name}", "required", "is missing"))
        return problems

    @staticmethod
    def _of_value(
        found: Operation, schemas: Schemas, where: str, one: Mapping[str, Any], value: Any
    ) -> list[tuple[str, str, str]]:
        schema = one.get("schema") or _json_schema(one.get("content")) or {}
        misfits = values.misfits(schemas, schema, found.document, value)
        return [(f"{where} {each.place}".strip(), each.keyword, each.told) for each in misfits]

    def _of_body(self, found: Operation, json: Any, form: list[tuple[str, str]] | None) -> list[tuple[str, str, str]]:
        told = resolve(found.document, found.told.get("requestBody"))
        content = told.get("content", {}) if isinstance(told, Mapping) else {}
        if json is None and form is None:
            missing = isinstance(told, Mapping) and told.get("required")
            return [("body", "required", "is missing")] if missing else []
        if not content:
            return [("body", "body", "this call takes none")]
        schemas = self._schemas[id(found.document)]
        as_form = _of_type(content, "form")
        if form is not None:
            if as_form is None:
                return [("body", "type", "is a form, and the document has none")]
            groups = values.grouped(form, [name.partition("[")[0] for name, _ in form])
            body = {name: values.tree(entries) for name, entries in groups.items()}
            misfits: list[Misfit] = values.misfits(schemas, as_form, found.document, body)
        else:
            schema = _json_schema(content)
            if schema is None:
                return [("body", "type", "is JSON, and the document has none")]
            misfits = schemas.misfits(schema, json, strict=True)
        return [(f"body {each.place}".strip(), each.keyword, each.told) for each in misfits]

    def _known(self, *problems: Problem) -> list[Problem]:
        """Without those the document itself is to blame for."""
        left: list[Problem] = []
        for problem in problems:
            defect = next((each for each in self.defects if each.covers(problem)), None)
            if defect is None:
                left.append(problem)
            else:
                self.covered.add(defect)
        return list(dict.fromkeys(left))


def form_of(body: bytes) -> list[tuple[str, str]]:
    """The pairs of a form as it went over the wire. Raises ValueError."""
    return parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)


def _of_type(content: Mapping[str, Any], kind: str) -> Any:
    for name, told in content.items():
        plain = name.partition(";")[0].strip().lower()
        if (kind == "json" and (plain == "application/json" or plain.endswith("+json"))) or (
            kind == "form" and plain in {FORM, "multipart/form-data"}
        ):
            return told.get("schema", {})
    return None


def _json_schema(content: Any) -> Any:
    return _of_type(content, "json") if isinstance(content, Mapping) else None
