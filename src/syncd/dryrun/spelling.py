"""How calls and answers are written in a sample, and read again as its player reads them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from syncd import codec
from syncd.dryrun.reading import Exchange
from syncd.kit import Headers, Request, Response


def cut_to(body: Any, whole: int, kept: int) -> Any:
    """The body with the list of that length cut to so many; itself where no list is so long."""
    if isinstance(body, list):
        return body[:kept] if len(body) == whole else body
    if isinstance(body, dict):
        return {name: cut_to(inner, whole, kept) for name, inner in body.items()}
    return body


def is_xml(exchange: Exchange) -> bool:
    """Did the partner answer in XML, and does its driver read that?"""
    return exchange.response.reads is not None and exchange.response.text.lstrip().startswith("<")


def call_told(request: Request) -> dict[str, Any]:
    """A call as a sample names it."""
    told: dict[str, Any] = {"path": request.path}
    if request.method != "GET":
        told["method"] = request.method
    told["params"] = codec.loads(codec.dumps(dict(request.params)))
    if request.json is not None:
        told["json"] = codec.loads(codec.dumps(request.json))
    if request.xml is not None:
        told["xml"] = codec.loads(codec.dumps(request.xml))
    if request.form is not None:
        told["form"] = dict(request.form)
    return told


def answered(told: Mapping[str, Any], url: str, exchange: Exchange) -> Response:
    """As a sample's player makes it."""
    if "xml" in told:
        said = Headers({"content-type": "text/xml", **told.get("headers", {})})
        content = str(told["xml"]).encode()
        return Response(int(told.get("status", 200)), said, content, url=url, reads=exchange.response.reads)
    content = str(told["text"]).encode() if "text" in told else codec.dumps(told["body"])
    headers = {"content-type": "application/json", **told.get("headers", {})}
    return Response(int(told.get("status", 200)), Headers(headers), content, url=url)


def written(moment: datetime) -> str:
    """A moment as a sample writes it."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
