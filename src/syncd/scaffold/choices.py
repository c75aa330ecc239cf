"""What a new driver is to be: chosen on the command line, guessed from a document, or plain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from syncd.testing.stated import Paging, Proof, Rows

AUTHS = ("none", "api_key", "basic", "bearer", "oauth2_client", "oauth2_refresh", "signer")
PAGINATIONS = ("cursor", "offset", "page", "next", "link", "none")
WEBHOOKS = ("none", "hmac_sha256", "hmac_sha1", "standard", "stripe", "attio", "maintainx", "twilio", "unsigned")
TOKEN_PATH = "/oauth/token"  # noqa: S105 - a path
HEADERS = {"api_key": "X-Api-Key", "signer": "X-Signature"}


@dataclass(frozen=True)
class Found:
    """One resource: as the simulator lists it, and what the driver keeps of its records."""

    rows: Rows
    fields: Mapping[str, Mapping[str, str]]
    """Name: `from` and `as`, as far as needed."""
    page_size: int | None = 50
    enabled: bool = True
    overlap: str = "2m"
    notes: tuple[str, ...] = ()
    """What was guessed, and from what."""


@dataclass(frozen=True)
class Choices:
    """Everything that decides what is written."""

    name: str
    title: str
    base_url: str
    proof: Proof
    auth: Mapping[str, Any]
    """As it stands under `auth:`."""
    resources: tuple[Found, ...]
    webhooks: str = "none"
    source: str = ""
    """The document it was guessed from."""
    notes: tuple[str, ...] = ()
    owner: str = ""
    """Who looks after it."""

    @property
    def needs_python(self) -> bool:
        return self.proof.kind == "signer"


def proof_of(kind: str, *, header: str = "", query: str = "", prefix: str = "", token_path: str = "") -> Proof:
    """What proves who calls, for a kind of `auth:`."""
    if kind.startswith("oauth2"):
        return Proof(kind, token_path=token_path or TOKEN_PATH)
    if kind == "bearer":
        return Proof(kind, prefix="Bearer ")
    return Proof(kind, header or HEADERS.get(kind, "Authorization"), query, prefix)


def auth_of(proof: Proof, token_url: str = "") -> dict[str, Any]:
    """As it stands under `auth:`."""
    match proof.kind:
        case "api_key" if proof.query:
            return {"kind": "api_key", "query": proof.query}
        case "api_key":
            return {"kind": "api_key", "header": proof.header, **({"prefix": proof.prefix} if proof.prefix else {})}
        case "signer":
            return {"kind": "signer", "credentials": {"secret": "secret"}}
        case "oauth2_client" | "oauth2_refresh":
            return {"kind": proof.kind, "token_path": token_url or proof.token_path}
    return {"kind": proof.kind}


def paging_of(kind: str) -> Paging:
    """A listing of this kind as a partner might have it."""
    match kind:
        case "cursor":
            return Paging("cursor", "cursor", "limit", next="next_cursor")
        case "offset":
            return Paging("offset", "offset", "limit", total="total")
        case "page":
            return Paging("page", "page", "per_page", pages="pages")
        case "next":
            return Paging("next", size="limit", next="links.next")
        case "link":
            return Paging("link", size="per_page")
    return Paging()


def plain_choices(name: str, *, auth: str = "bearer", pagination: str = "cursor", webhooks: str = "none") -> Choices:
    """One resource, `things`, to be replaced by what there really is."""
    like = {
        "id": "thg_000001",
        "name": "First thing",
        "amount": 4200,
        "open": True,
        "updated_at": "2026-11-20T09:30:00Z",
    }
    rows = Rows(
        "things",
        "/things",
        updated="updated_at",
        since="updated_since",
        paging=paging_of(pagination),
        one="/things/{id}",
        like=like,
    )
    fields = {"name": {}, "amount": {"as": "integer"}, "open": {"as": "boolean"}}
    proof = proof_of(auth)
    return Choices(
        name,
        name.replace("_", " ").replace("-", " ").title(),
        f"https://api.{name.replace('_', '-')}.example/v1",
        proof,
        auth_of(proof),
        (Found(rows, fields, page_size=50 if rows.paging.size else None),),
        webhooks,
    )


def over(
    choices: Choices, *, auth: str | None, pagination: str | None, webhooks: str | None, owner: str = ""
) -> Choices:
    """What was said on the command line in place of what was guessed."""
    choices = replace(choices, owner=owner or choices.owner)
    if auth is not None and auth != choices.proof.kind:
        proof = proof_of(auth)
        choices = replace(choices, proof=proof, auth=auth_of(proof))
    if pagination is not None:
        paging = paging_of(pagination)
        size = 50 if paging.size else None
        found = tuple(replace(one, rows=replace(one.rows, paging=paging), page_size=size) for one in choices.resources)
        choices = replace(choices, resources=found)
    return choices if webhooks is None else replace(choices, webhooks=webhooks)
