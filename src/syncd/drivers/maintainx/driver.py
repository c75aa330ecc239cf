"""What of MaintainX no description can say: what its options change, and that a comment is more than its work order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from syncd.kit import ConfigError, Delivery, Event, Resource, RestDriver, checked_options

CLOSED: Final = ("CLOSED", "COMPLETED")  # words of ours: MaintainX has neither


class MaintainX(RestDriver):
    """Work orders and what belongs to them."""

    def resources(self, options: Mapping[str, Any]) -> Mapping[str, Resource]:
        settings, found = checked_options(self.spec, options), dict(self.spec.resources)
        pushes = found["work_orders"].pushes
        status, table = pushes["status"].fields["status"], pushes["status"].transitions
        assert table is not None
        words = dict.fromkeys(CLOSED, settings["closed_maps_to"])
        allowed = {**table.allowed, **_stated(settings["transitions"], status.choices)}
        if settings["reopen"]:
            allowed |= {state: ("OPEN", *allowed[state]) for state in ("DONE", "CANCELED")}
        changed = {
            "fields": {"status": status.model_copy(update={"words": words})},
            "transitions": table.model_copy(update={"allowed": allowed}),
        }
        fresh = {**pushes, "status": pushes["status"].model_copy(update=changed)}
        found["work_orders"] = found["work_orders"].model_copy(update={"pushes": fresh})
        if settings["skip_webhooks"]:
            for name, resource in found.items():
                fresh = {kind: push.model_copy(update=_silent(push.params)) for kind, push in resource.pushes.items()}
                found[name] = resource.model_copy(update={"pushes": fresh})
        return found

    def events(self, delivery: Delivery) -> list[Event]:
        found = super().events(delivery)
        told = [one for one in found if one.type == "NEW_COMMENT_ON_WORK_ORDER"]
        return found + [
            Event("work_order_comments", one.external_id, one.type, one.at, parent_id=one.external_id) for one in told
        ]


def _silent(params: Mapping[str, Any]) -> dict[str, Any]:
    return {"params": {**params, "skipWebhook": "true"}}


def _stated(given: Mapping[str, Any] | None, choices: tuple[Any, ...]) -> dict[str, tuple[str, ...]]:
    """The transitions an option states. Raises ConfigError for a status there is not."""
    for state, after in (given or {}).items():
        if state not in (*choices, "SKIPPED") or not isinstance(after, list) or not set(map(str, after)) <= {*choices}:
            known = ", ".join(map(str, choices))
            raise ConfigError(f"options.transitions.{state}: expected a list of statuses", hint=f"there are: {known}")
    return {state: tuple(after) for state, after in (given or {}).items()}
