"""A driver, described: the keys of `driver.yaml` (or of `rest:` in a partner's file) as models.

What stands here is its top. A section of its own: `auth.py`, `limits.py`, `failures.py`, `deliveries.py`; one kind of record:
`resource.py`; what must fit together: `coherence.py`. Reading a file: `drivers/__init__.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from syncd.config.facts import Facts
from syncd.config.units import Duration
from syncd.errors import ConfigError
from syncd.kit.allowed import Scopes
from syncd.kit.auth import Auth
from syncd.kit.canary import Canary
from syncd.kit.coherence import check_family
from syncd.kit.consent import Login
from syncd.kit.deliveries import Webhooks
from syncd.kit.failures import Errors
from syncd.kit.limits import Limits
from syncd.kit.placeholders import OPTION
from syncd.kit.resource import NAME, Resource
from syncd.kit.shapes import Model, OptionValue, said
from syncd.markup import Markup


class Xml(Model):
    """How the partner's XML is read: attributes as `@Name`, text beside them as `$`, names without their namespace."""

    lists: tuple[str, ...] = Field((), description="Elements that may come more than once: always a list.")
    drop: tuple[str, ...] = Field(
        (),
        description="Elements that are cut out of every XML answer before anything else sees it (card data); `cc_*` will do.",
    )

    @cached_property
    def markup(self) -> Markup:
        """The same, ready to use."""
        return Markup(frozenset(self.lists), self.drop)


class Probe(Model):
    """A cheap call that tells whether the credential is accepted."""

    path: str = Field(description="Relative to base_url.")
    method: Literal["GET", "POST"] = Field("GET", description="How it is asked.")
    params: dict[str, Any] = Field(default_factory=dict, description="Query parameters.")
    body: dict[str, Any] | None = Field(None, description="JSON body.")
    every: Duration = Field(
        15.0,
        description="How long the partner may go uncalled before health asks with this call; longer where that would take "
        "more than a twentieth of its limits.",
    )
    keep_alive: Duration | None = Field(
        None, description="It is made so often even while the integration is paused: the credential dies of disuse."
    )


class Option(Model):
    """One setting of the driver's own, given under an integration's `options:`."""

    about: str = Field(description="What it is, for a person.")
    kind: Literal["text", "integer", "number", "boolean", "list", "object", "url"] = Field(
        "text",
        alias="as",
        description="What it must be. A `url` is where calls go beside base_url: a file that gives another base_url has to "
        "give it too.",
    )
    default: Any = Field(None, description="Its value where a file gives none.")
    required: bool = Field(False, description="A file must give it.")
    choices: tuple[Any, ...] = Field((), description="The only values it may have.")
    when: dict[OptionValue, dict[str, str | dict[str, Any] | None]] = Field(
        default_factory=dict,
        description="Value: what resources are then. Name: keys in place of its own, the name of one of `alternatives`, or "
        "null where there is none.",
    )
    tenant: dict[OptionValue, str] = Field(
        default_factory=dict,
        description="Value: what records name under `tenant` then. Where a file gives that value, others are refused.",
    )


class Quality(Model):
    """Which rungs of the quality ladder the driver claims, and why it is excused from others."""

    tier: Literal["none", "bronze", "silver", "gold"] = Field("none", description="The rung it claims.")
    owner: str = Field("", description="Who looks after it.")
    checked: date | None = Field(None, description="When it was last checked against the real partner.")
    excused: dict[str, str] = Field(default_factory=dict, description="Rule: why it does not apply here.")


class DriverSpec(Model):
    """One partner, described."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]{0,47}$", description="Set from the folder, or the partner's file.")
    title: str = Field("", description="As the partner writes itself.")
    base_url: str | None = Field(None, description="Where paths start; an integration may say otherwise.")
    origins: tuple[str, ...] = Field((), description="Further origins calls may go to (a token or media host).")
    hosts: tuple[str, ...] = Field(
        (), description="Further origins of the partner's own API: calls may go there, and with the credential."
    )
    headers: dict[str, str] = Field(
        default_factory=dict,
        description="Sent with every call. {option.NAME} is an option's value; where it has none, the header is left out.",
    )
    auth: Auth = Field(Auth(), description="How calls prove who we are.")
    scopes: Scopes = Field(
        Scopes(), description="What a credential has to be allowed, and how the partner tells what it is."
    )
    limits: Limits = Field(Limits(), description="What the partner allows.")
    errors: Errors = Field(Errors(), description="How its failures read.")
    xml: Xml = Field(Xml(), description="How its XML is read, where a resource or a push has `format: xml`.")
    page_size: int | None = Field(None, ge=1, description="For resources that name none.")
    resources: dict[Annotated[str, Field(pattern=NAME)], Resource] = Field(
        default_factory=dict, description="Name: what it is."
    )
    alternatives: dict[Annotated[str, Field(pattern=NAME)], Resource] = Field(
        default_factory=dict, description="Descriptions that options put in the place of resources (`when`)."
    )
    webhooks: Webhooks | None = Field(None, description="How its deliveries are verified and read.")
    test: Annotated[
        Probe | None,
        BeforeValidator(lambda v: {"path": v} if isinstance(v, str) else v, json_schema_input_type=str | Probe | None),
    ] = Field(None, description="A cheap call that tells whether the credential is accepted; a path will do.")
    verify: Canary | None = Field(
        None, description="A record that `syncd verify` may make and end at once; left out: it only reads."
    )
    options: dict[str, Option] = Field(default_factory=dict, description="Settings of its own, for Python to read.")
    quality: Quality = Field(Quality(), description="Which rung of the quality ladder it claims.")

    @model_validator(mode="before")
    @classmethod
    def _pass_down(cls, given: Any) -> Any:
        """Give each resource its name and, where it has none, the common page size."""
        if not isinstance(given, Mapping):
            return given
        size = given.get("page_size")
        passed = {
            key: _passed(given[key], size)
            for key in ("resources", "alternatives")
            if isinstance(given.get(key), Mapping)
        }
        return {**given, **passed}

    @model_validator(mode="after")
    def _whole(self) -> Self:
        check_family(self.resources)
        asked = None if self.webhooks is None else self.webhooks.subscriptions
        if asked is not None and (stray := sorted(asked.options - set(self.options))):
            raise ValueError(f"webhooks.subscriptions: there is no option {stray[0]!r}")
        named = [(f"resources.{name}", one.options) for name, one in {**self.resources, **self.alternatives}.items()]
        named += [("limits.tiers", frozenset({*tier.when, *filter(None, [tier.option])})) for tier in self.limits.tiers]
        named += [("headers", frozenset(OPTION.findall(text))) for text in self.headers.values()]
        pages = [one.text for one in (self.auth.login, *_logins(self.auth)) if one is not None]
        named += [
            ("auth", frozenset({*self.auth.when, *OPTION.findall(" ".join([self.auth.token_path or "", *pages]))}))
        ]
        if self.webhooks is not None and self.webhooks.account is not None:
            named.append(("webhooks.account", frozenset({self.webhooks.account.option})))
        for where, options in named:
            if stray := sorted(options - set(self.options)):
                raise ValueError(f"{where}: there is no option {stray[0]!r}")
        self._check_variants()
        if self.verify is not None:
            self.verify.fits(self.resources)
        return self

    def _check_variants(self) -> None:
        from syncd.kit.reading import replaced

        for name, option in self.options.items():
            for value, changes in option.when.items():
                where = f"options.{name}.when.{value}"
                if option.choices and value not in map(said, option.choices):
                    raise ValueError(f"{where}: it cannot have that value")
                for resource, other in changes.items():
                    if isinstance(other, str) and other not in self.alternatives:
                        raise ValueError(f"{where}.{resource}: there is no {other!r} among `alternatives`")
                    if not isinstance(other, str) and resource not in self.resources:
                        raise ValueError(f"{where}: there is no resource {resource!r}")
                    if isinstance(other, dict):
                        try:
                            replaced(self.resources[resource], other)
                        except ConfigError as error:
                            raise ValueError(f"{where}.{resource}: {error}") from None

    def facts(self) -> Facts:
        """What checking a configuration needs to know; nothing of the options' effect, which only Python knows."""
        adapters = {"v1"} | {name for resource in self.resources.values() for name in resource.adapters}
        return Facts(
            resources=tuple(self.resources),
            credentials=self.auth.names,
            options=tuple(self.options),
            adapters=tuple(sorted(adapters)),
            base_url=self.base_url,
            signs_webhooks=self.webhooks is not None and self.webhooks.verify != "none",
            webhooks=self.webhooks is not None,
            counted_by=self.limits.scope,
            replaced=self.auth.replaced,
            account=self.webhooks.account.option if self.webhooks is not None and self.webhooks.account else "",
            queues=any(resource.queue is not None for resource in self.resources.values()),
        )


def _logins(auth: Auth) -> list[Login | None]:
    return [one.login for others in auth.when.values() for one in others.values()]


def _passed(given: Mapping[Any, Any], size: Any) -> dict[Any, Any]:
    """Resources with their names, and where they have none the common page size."""
    passed: dict[Any, Any] = {}
    for name, resource in given.items():
        if isinstance(resource, Mapping):
            more = {"name": name} if size is None or "page_size" in resource else {"name": name, "page_size": size}
            passed[name] = {**resource, **more}
        elif isinstance(resource, Resource) and resource.name != name:
            passed[name] = resource.model_copy(update={"name": name})
        else:
            passed[name] = resource
    return passed
