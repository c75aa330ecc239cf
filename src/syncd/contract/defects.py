"""Where published documents are wrong, older than the partner, or narrower than what it takes; each with how we know."""

from __future__ import annotations

from typing import Final

from syncd.contract.specification import Defect

_LATER_EVENTS: Final = "the document is older than some events; POST /webhooks of 2026 has them"

DEFECTS: Final[dict[str, tuple[Defect, ...]]] = {
    "attio": (
        Defect(
            "*: answer * data*.value",
            "`format: date` on full timestamps; its own example is 2022-11-21T13:22:49.061281000Z",
            "format",
        ),
        Defect(
            "*: answer 4?? code", "of each status one code is listed, and several are met: facts, section 8", "enum"
        ),
    ),
    "cloudbeds": (
        Defect(
            "*: request query *From",
            "`format: date-time`; the page of technical specifications says YYYY-MM-DD HH:MM:SS: facts, section 1",
            "format",
        ),
        Defect(
            "*: answer 200 *date*",
            "`format: date-time`; written with a space and without a zone: facts, sections 1 and 12",
            "format",
        ),
        Defect(
            "*: answer 200 *reservationCheck*", "`format: date-time` on a calendar date: facts, section 12", "format"
        ),
        Defect(
            "GET */getHotels: answer 200 *propertyCurrency",
            "a list in the document, an object in recorded data: facts, section 3.1",
            "type",
        ),
        Defect(
            "GET */getGuestList: answer 200 data",
            "an object in the document, a list in recorded data: facts, section 3.3",
            "type",
        ),
        Defect("GET */getRooms: answer 200 *doorlockID", "null where a room has none: facts, section 12", "type"),
    ),
    "guesty": (
        Defect(
            "GET /v1/listings: answer 200", "a bare list is documented, an envelope answers: facts, section 3.1", "type"
        ),
        Defect(
            "GET /v1/guests-crud: answer 200 results",
            "typed object, a list of guests answers: facts, section 3.4",
            "type",
        ),
        Defect(
            "GET /v1/reservations: request query filters*",
            "typed object; its text and its example are a JSON list: facts, section 3.2",
            "type",
        ),
        Defect(
            "PUT /v1/reservations-v3/{reservationId}/custom-fields: request body customFields[].value",
            "typed object, its own example is a text: facts, last section",
            "type",
        ),
        Defect(
            "PUT /v1/reservations-v3/{reservationId}/custom-fields: answer 200 customFields[].value",
            "typed object, its own example is a text: facts, last section",
            "type",
        ),
        Defect(
            "PUT /v1/reservations-v3/{reservationId}/notes: answer 200 money*",
            "the answer about notes is said to require the reservation's money and its invoice",
            "required",
        ),
        Defect("*/v1/webhooks*: * *events*", _LATER_EVENTS, "enum"),
        Defect("PUT /v1/webhooks/{id}: answer 200", "typed a list, described as the updated webhook object", "type"),
        Defect(
            "* /v1/guests-crud/{guestId}: answer 200 *",
            "required although the call chooses its fields: facts, section 3.4",
            "required",
        ),
    ),
    "stripe": (
        Defect("POST /v1/webhook_endpoints*: request body api_version", "the document is of April 2022", "enum"),
        Defect("POST /v1/webhook_endpoints*: request body enabled_events[]", "the document is of April 2022", "enum"),
        Defect("* /v1/charges*: answer 200 *refunds", "later versions leave it out unless expanded", "required"),
        Defect("*/invoices*: answer *", "the document is older than the invoices of 2025: README of the documents"),
    ),
    "twilio": (
        Defect(
            "GET /2010-04-01/Accounts/{AccountSid}/*.json: request query *",
            "typed date-time where the text, and its examples, have a date: facts, last section",
            "format",
        ),
    ),
}
