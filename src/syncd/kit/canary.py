"""A record that may be made at the real partner to see that everything works: the keys of `verify:`. Who makes it:
`syncd verify`, which ends it again whatever happens in between."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic import Field

from syncd.kit.resource import Resource
from syncd.kit.shapes import Model

MARK: Final = "{mark}"


class Step(Model):
    """One push of the check."""

    kind: str = Field(description="Which of the resource's `pushes` it is.")
    data: dict[str, Any] = Field(
        default_factory=dict, description="What is pushed; {mark} in a text becomes what tells this check from others."
    )
    shows: dict[str, tuple[Any, ...]] = Field(
        default_factory=dict,
        description="Normalized field: the values of which it has one when the record is read afterwards.",
    )

    def marked(self, mark: str) -> dict[str, Any]:
        """Its data, with this mark."""
        return {
            name: value.replace(MARK, mark) if isinstance(value, str) else value for name, value in self.data.items()
        }


class Canary(Model):
    """A harmless record of the partner's, made to be ended at once."""

    resource: str = Field(description="Which resource it is of.")
    about: str = Field(
        description="For whoever is asked before it is made: what it is, and who at the partner notices."
    )
    create: Step = Field(
        description="How it is made. A text of it must hold {mark}, so that a person knows what it is."
    )
    close: Step = Field(description="How it is ended, by the partner's id of it.")
    kept_out: str = Field(
        "", description="Why it never comes into the copy, where that is so; then it is only looked for at the partner."
    )

    def fits(self, resources: Mapping[str, Resource]) -> None:
        """Raises ValueError where it names what there is not."""
        if self.resource not in resources:
            raise ValueError(f"verify: there is no resource {self.resource!r}")
        resource = resources[self.resource]
        for name, step in (("create", self.create), ("close", self.close)):
            if step.kind not in resource.pushes:
                raise ValueError(f"verify.{name}: {self.resource} takes no push of kind {step.kind!r}")
            if stray := sorted(set(step.shows) - set(resource.fields)):
                raise ValueError(f"verify.{name}.shows: {self.resource} has no field {stray[0]!r}")
        if resource.pushes[self.create.kind].needs_id:
            raise ValueError("verify.create: it must make a record, and this push needs the id of one")
        if resource.pushes[self.create.kind].idempotency == "none":
            raise ValueError("verify.create: a lost answer would leave a record that nobody finds again")
        if not resource.pushes[self.close.kind].needs_id:
            raise ValueError("verify.close: it must end the record by its id")
        if not any(isinstance(value, str) and MARK in value for value in self.create.data.values()):
            raise ValueError("verify.create: none of its texts holds {mark}")
