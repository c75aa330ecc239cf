"""The keys of a description as text for `docs/writing-a-driver.md`, made from the models so that it cannot drift."""

from __future__ import annotations

from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from syncd.config.units import format_duration
from syncd.kit.allowed import Asked, Scopes
from syncd.kit.auth import Auth
from syncd.kit.by_id import Many, One
from syncd.kit.canary import Canary, Step
from syncd.kit.consent import Login
from syncd.kit.deliveries import Answer, Rotation, Webhooks, Whose
from syncd.kit.failures import Errors
from syncd.kit.limits import Breaker, Limits, Tier
from syncd.kit.listing import Attests, Each, Inner, Pages, Queue, Since, Then, Windows
from syncd.kit.pushes import LookUp, Push, PushField, Transitions
from syncd.kit.registration import Call, Change, EachOf, Listing, Registration, SecretCall
from syncd.kit.resource import Adapter, Forget, Resource
from syncd.kit.shapes import Deleted, MappedField, Stamp
from syncd.kit.spec import DriverSpec, Option, Probe, Quality, Xml
from syncd.kit.unsettled import Unsettled

_SECTIONS: Final[tuple[tuple[str, type[BaseModel]], ...]] = (
    ("The top", DriverSpec),
    ("`auth`", Auth),
    ("`auth.login`", Login),
    ("`scopes`", Scopes),
    ("`scopes.told`", Asked),
    ("`limits`", Limits),
    ("One of `limits.tiers`", Tier),
    ("`limits.breaker`", Breaker),
    ("`errors`", Errors),
    ("`xml`", Xml),
    ("`test`", Probe),
    ("`verify`", Canary),
    ("`verify.create` and `verify.close`", Step),
    ("One of `resources`", Resource),
    ("`pages`", Pages),
    ("`each`", Each),
    ("`windows`", Windows),
    ("`inner`", Inner),
    ("`forget`", Forget),
    ("`since`", Since),
    ("`since.then`", Then),
    ("One of `fields`", MappedField),
    ("`updated` and `order`", Stamp),
    ("`deleted`", Deleted),
    ("`unsettled`", Unsettled),
    ("`one`", One),
    ("`many`", Many),
    ("`queue`", Queue),
    ("`attests`", Attests),
    ("One of `adapters`", Adapter),
    ("One of `pushes`", Push),
    ("One of the `fields` of a push", PushField),
    ("`transitions`", Transitions),
    ("`look_up`", LookUp),
    ("`webhooks`", Webhooks),
    ("`webhooks.answer`", Answer),
    ("`webhooks.account`", Whose),
    ("`webhooks.rotation`", Rotation),
    ("`webhooks.subscriptions`", Registration),
    ("`webhooks.subscriptions.list`", Listing),
    ("`webhooks.subscriptions.create`, `read` and `remove`", Call),
    ("`webhooks.subscriptions.change`", Change),
    ("`webhooks.subscriptions.secret_call`", SecretCall),
    ("`webhooks.subscriptions.each`", EachOf),
    ("One of `options`", Option),
    ("`quality`", Quality),
)
_DURATIONS: Final = frozenset(
    {"early", "lasts", "timeout", "cooldown", "overlap", "every", "keep_alive", "tolerance", "after"}
)


def reference() -> str:
    """All sections, in Markdown."""
    return "\n".join(line for title, model in _SECTIONS for line in _section(title, model))


def _section(title: str, model: type[BaseModel]) -> Iterator[str]:
    yield f"### {title}\n"
    yield "| key | meaning | default |"
    yield "|---|---|---|"
    for name, field in model.model_fields.items():
        choices = " | ".join(f"`{choice}`" for choice in _choices(field.annotation)).replace("|", "\\|")
        meaning = " ".join(part for part in (field.description, choices and f"One of {choices}.") if part)
        yield f"| `{field.alias or name}` | {meaning} | {_default(name, field)} |"
    yield ""


def _choices(kind: Any) -> list[str]:
    origin = get_origin(kind)
    if origin is Literal:
        return [str(choice) for choice in get_args(kind)]
    if origin in {Union, UnionType, Annotated}:
        return [choice for inner in get_args(kind) for choice in _choices(inner)]
    return []


def _default(name: str, field: Any) -> str:
    if field.is_required():
        return "required"
    value = field.default
    if value in (None, "", ()) or value is PydanticUndefined or isinstance(value, BaseModel):
        return ""
    if name in _DURATIONS:
        return f"`{format_duration(value)}`"
    return f"`{str(value).lower()}`" if isinstance(value, bool) else f"`{value}`"
