"""Which events the simulated MaintainX sends for a change, and what they carry (facts, section 9.3)."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from typing import Final

from syncd.drivers.maintainx.simulator_data import CHANGE
from syncd.testing.collection import Entry, Raw

TYPES: Final = frozenset(
    "API_TOKEN_CREATED API_TOKEN_REVOKED ASSET_STATUS_CHANGE CONNECTOR_TOKEN_REVOKED DATA_EXPORT_INITIATED "  # noqa: SIM905
    "INVITE_LINK_ARCHIVED INVITE_LINK_CREATED INVITE_LINK_UPDATED METER_TRIGGER_STATE_CHANGE NEW_ASSET "
    "NEW_CATEGORY_ON_WORK_ORDER NEW_COMMENT_ON_WORK_ORDER NEW_LOCATION NEW_PART NEW_PURCHASE_ORDER NEW_SLASH_COMMAND "
    "NEW_VENDOR NEW_WORK_ORDER NEW_WORK_REQUEST PART_CHANGE PART_DELETE PART_QUANTITY_CHANGE PART_TRANSFER "
    "PURCHASE_ORDER_CHANGE PURCHASE_ORDER_STATUS_CHANGE ROLE_ARCHIVED ROLE_CREATED ROLE_UPDATED SSO_CONFIG_CHANGED "
    "USER_ACTIVATED USER_INVITED USER_LOGIN_FAILURE USER_LOGIN_SUCCESS USER_LOGOUT USER_PERMISSIONS_CHANGED USER_REMOVED "
    "USER_ROLE_CHANGED USER_SESSION_REVOKED WEBHOOK_ARCHIVED WEBHOOK_CREATED WORK_ORDER_CHANGE WORK_ORDER_DELETE "
    "WORK_ORDER_OVERDUE WORK_ORDER_PART_STATUS_CHANGE WORK_ORDER_STATUS_CHANGE WORK_REQUEST_STATUS_CHANGE".split()
)
CREATED: Final = {
    "work_requests": ("NEW_WORK_REQUEST", "workRequestId"),
    "assets": ("NEW_ASSET", "assetId"),
    "locations": ("NEW_LOCATION", "locationId"),
    "parts": ("NEW_PART", "partId"),
    "vendors": ("NEW_VENDOR", "vendorId"),
    "purchase_orders": ("NEW_PURCHASE_ORDER", "purchaseOrderId"),
}
DELETED: Final = {
    "parts": ("PART_DELETE", "partId", "deletedPart"),
    "work_orders": ("WORK_ORDER_DELETE", "workOrderId", "WorkOrder"),
}
PARTIAL: Final = ("title", "priority", "assetId")


def told_of(what: str, resource: str, before: Entry | None, after: Entry | None) -> Iterator[tuple[str, Raw]]:
    """Type and body, less what every event has."""
    raw: Raw = (after or before).raw  # type: ignore[union-attr]
    if what == "create" and resource in CREATED:
        event, key = CREATED[resource]
        yield event, {key: raw["id"]}
    elif what == "create" and resource == "work_orders":
        yield "NEW_WORK_ORDER", {"workOrderId": raw["id"], "newWorkOrder": _partial(raw)}
    elif what == "create" and resource == "work_order_comments":
        yield (
            "NEW_COMMENT_ON_WORK_ORDER",
            {"workOrderId": raw["workOrderId"], "type": "TEXT", "comment": raw["content"]},
        )
    elif what == "delete" and resource in DELETED:
        event, key, shape = DELETED[resource]
        yield event, {key: raw["id"], shape: _partial(raw) if resource == "work_orders" else {"name": raw["name"]}}
    elif what == "update" and before is not None and after is not None:
        yield from _changed(resource, before.raw, after.raw)


def _changed(resource: str, old: Raw, new: Raw) -> Iterator[tuple[str, Raw]]:
    number = new["id"]
    status = new.get("status") != old.get("status") or new.get("progress") != old.get("progress")
    match resource:
        case "work_orders":
            if status:
                yield (
                    "WORK_ORDER_STATUS_CHANGE",
                    {"workOrderId": number, **_statuses(old, new), "progress": new["progress"]},
                )
            if new.get("partStatus") != old.get("partStatus"):
                told = {"oldPartStatus": old.get("partStatus"), "newPartStatus": new["partStatus"]}
                yield "WORK_ORDER_PART_STATUS_CHANGE", {"workOrderId": number, **told}
            if any(new.get(name) != old.get(name) for name in CHANGE):
                yield "WORK_ORDER_CHANGE", {"workOrderId": number, "newWorkOrder": _partial(new)}
        case "parts":
            counted = "inStockQuantity"
            if new[counted] != old[counted]:
                told = {
                    "oldQuantity": old[counted],
                    "newQuantity": new[counted],
                    "quantityDiff": new[counted] - old[counted],
                }
                yield "PART_QUANTITY_CHANGE", {"partId": number, "locations": [], **told}
            elif new != old:
                yield "PART_CHANGE", {"partId": number, "newPart": {"name": new["name"]}}
        case "assets" if status:
            yield "ASSET_STATUS_CHANGE", {"assetId": number, "oldStatus": old["status"], "newStatus": new["status"]}
        case "purchase_orders":
            if status:
                told = {"oldStatus": old["status"], "newStatus": new["status"]}
                yield "PURCHASE_ORDER_STATUS_CHANGE", {"purchaseOrderId": number, **told}
            else:
                yield "PURCHASE_ORDER_CHANGE", {"purchaseOrderId": number}
        case "work_requests" if new["requestStatus"] != old["requestStatus"]:
            told = {"oldStatus": old["requestStatus"], "newStatus": new["requestStatus"]}
            yield "WORK_REQUEST_STATUS_CHANGE", {"requestId": number, **told}


def _statuses(old: Raw, new: Raw) -> Raw:
    """The event knows four statuses: what was cancelled or skipped is DONE, with a status below it."""
    told: Raw = {}
    for name, raw in (("old", old), ("new", new)):
        below = raw["status"] in ("CANCELED", "SKIPPED")
        told[f"{name}Status"] = "DONE" if below else raw["status"]
        if below:
            told[f"{name}SubStatus"] = raw["status"]
    return told


def _partial(raw: Raw) -> Raw:
    """No id, no status, no stamp: never a record."""
    people = raw["assignees"]
    of = {"USER": "assigneeIds", "TEAM": "teamIds"}
    ids = {key: [one["id"] for one in people if one["type"] == kind] for kind, key in of.items()}
    return {
        **{name: raw.get(name) for name in PARTIAL},
        **ids,
        "categories": [{"label": name} for name in raw["categories"]],
    }


def stamped(secret: str, moment: str, message: bytes) -> str:
    """`t=…,v1=…`: moment, a point and the message, under the secret's own text."""
    return f"t={moment},v1={hmac.new(secret.encode(), moment.encode() + b'.' + message, hashlib.sha256).hexdigest()}"
