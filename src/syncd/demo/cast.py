"""Who plays in the demo: each partner's simulator, its file as an operator would write it, and what happens to it.

Records are few enough that each partner's true limits let the import end within a minute or two: Guesty allows 120 calls a
minute, MaintainX 100, Airbnb 200 in ten.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Push:
    """A change of ours: to the first record of its resource that the partner has, or a new one where `new`."""

    resource: str
    kind: str
    data: Mapping[str, Any]
    new: bool = False


@dataclass(frozen=True, slots=True)
class Role:
    """One partner."""

    integration: str
    simulated: Mapping[str, Any]
    """The simulator's options: how many records of what, above all."""
    file: str
    """Its partner file, with `{base_url}`, `{url}` (the simulator's root) and `{hook}` (where its deliveries reach us)."""
    compared: tuple[str, ...]
    """The resources whose every record is compared at the end."""
    credentials: Mapping[str, str]
    """Secret file to content: what the simulator accepts."""
    hooks: Literal["registered", "told", "none"] = "none"
    """How it comes to send us webhooks: syncd subscribes, a person tells it, or it has none."""
    changes: str = ""
    """The resource in which a record changes, to be told of; or by a queue where it has one."""
    tells: str = ""
    """The resource that its webhooks tell of, where changes come by a queue."""
    push: Push | None = None
    renews: str = ""
    """What is said when its tokens end; the simulator's action is `expire_tokens` or `rotate`."""
    action: str = "expire_tokens"
    fields: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Of a resource that the simulator keeps otherwise than it sends it: the normalized fields that are compared."""
    busy: tuple[str, ...] = ()
    """Resources that are asked for every second or three, so that it is called all the time."""


SIGNED = "whsec_" + secrets.token_hex(16)
"""What a person pastes at both ends where syncd does not subscribe by itself."""
ACCOUNT = "AC5c0de5c0de5c0de5c0de5c0de5c0dea1"

CAST: dict[str, Role] = {
    "stripe": Role(
        "shop",
        {"customers": 900, "products": 100, "invoices": 300, "charges": 500, "key": "sk_live_simulated_key_1"},
        """\
driver: stripe
base_url: {base_url}
limits: {{breaker: {{failures: 3, cooldown: 2s}}}}
resources: {{events: {{every: 1s}}}}
integrations:
  shop: {{credentials: {{api_key: {{file: stripe_key}}}}, webhook: {{}}}}
""",
        ("customers", "products", "invoices", "charges"),
        {"stripe_key": "sk_live_simulated_key_1"},
        hooks="registered",
        changes="customers",
        push=Push("customers", "metadata", {"metadata": {"ours": "4711"}}),
        busy=("events",),
    ),
    "attio": Role(
        "crm",
        {"people": 900, "companies": 400, "deals": 150, "notes": 100, "tasks": 150},
        """\
driver: attio
base_url: {base_url}
resources: {{people: {{every: 3s, strategy: incremental}}}}
integrations:
  crm: {{credentials: {{token: {{file: attio_token}}}}, webhook: {{}}}}
""",
        ("people", "companies", "deals", "notes", "tasks"),
        {"attio_token": "simulated-attio-token"},
        hooks="registered",
        changes="companies",
        push=Push("people", "upsert", {"email_addresses": "ada@example.com", "name": "Lovelace, Ada"}, new=True),
        busy=("people",),
    ),
    "guesty": Role(
        "rentals",
        {"listings": 300, "reservations": 900, "guests": 500},
        """\
driver: guesty
base_url: {base_url}
resources: {{reservations: {{every: 2s}}}}
integrations:
  rentals: {{credentials: {{client_id: {{file: guesty_id}}, client_secret: {{file: guesty_secret}}}}, webhook: {{}}}}
""",
        ("listings", "reservations", "guests"),
        {"guesty_id": "simulated-client", "guesty_secret": "simulated-secret"},
        hooks="registered",
        changes="reservations",
        push=Push("reservations", "key_code", {"key_code": "4711"}),
        renews="one of its five tokens of the day ends, and reads as 403",
        busy=("reservations",),
    ),
    "maintainx": Role(
        "plant",
        {
            "work_orders": 60,
            "assets": 60,
            "parts": 40,
            "purchase_orders": 2,
            "work_requests": 20,
            "locations": 8,
            "users": 15,
            "teams": 2,
            "team_members": 4,
            "vendors": 4,
            "categories": 4,
            "meters": 4,
            "work_order_comments": 5,
        },
        """\
driver: maintainx
base_url: {base_url}
integrations:
  plant: {{credentials: {{api_key: {{file: maintainx_key}}}}, webhook: {{}}, resources: {{work_orders: {{every: 20s}}}}}}
""",
        ("work_orders", "assets", "parts", "work_requests", "locations", "users", "vendors"),
        {"maintainx_key": "simulated-maintainx-key"},
        hooks="registered",
        changes="work_orders",
        push=Push("work_orders", "create", {"title": "Look at the belt", "priority": "LOW"}, new=True),
        fields={"work_orders": ("title", "status", "priority")},  # lists show them in another shape than single reads
    ),
    "airbnb": Role(
        "host",
        {"listings": 4, "reservations": 60, "threads": 4, "alterations": 0, "past": 0},
        """\
driver: airbnb
base_url: {base_url}
options: {{future_days: 365}}
integrations:
  host:
    credentials:
      client_id: {{file: airbnb_id}}
      client_secret: {{file: airbnb_secret}}
      refresh_token: {{file: airbnb_refresh}}
    webhook: {{secrets: [{{file: airbnb_key}}], url: "{hook}"}}
""",
        ("listings", "reservations"),
        {
            "airbnb_id": "simulated-client",
            "airbnb_secret": "simulated-secret",
            "airbnb_refresh": "simulated-refresh-token",
        },
        hooks="told",
        changes="reservations",
        push=Push("threads", "message", {"message": "The key is in the box."}),
        renews="a new client secret, announced by a signed notification",
        action="rotate",
    ),
    "bookingcom": Role(
        "machine",
        {"pace": 2.0, "reservations": 20, "queued": 20},
        """\
driver: bookingcom
base_url: {url}
options:
  queue_seconds: 2 # in life 20
  calls_per_minute: 600
  reservations_url: "{url}"
  auth_url: "{url}/token-based-authentication/exchange"
integrations:
  machine:
    credentials: {{client_id: {{file: booking_id}}, client_secret: {{file: booking_secret}}}}
    webhook: {{secrets: [{{file: booking_hook}}]}} # for this it is given a token of ours, which it then brings
""",
        ("units", "reservations"),
        {"booking_id": "simulated-machine", "booking_secret": "simulated-machine-secret", "booking_hook": SIGNED},
        hooks="told",
        changes="reservations",
        tells="messages",
        push=Push("reservations", "no_show", {"waived_fees": "no"}),
        renews="its token ends before its hour",
        fields={"reservations": ("status", "arrival", "currency")},
    ),
    "cloudbeds": Role(
        "inn",
        {"reservations": 250, "guests": 60, "rooms": 12, "room_types": 4, "room_blocks": 4, "rate_plans": 4},
        """\
driver: cloudbeds
base_url: {base_url}
options: {{auth: oauth, properties: ["900000000101", "900000000102"]}}
integrations:
  inn:
    credentials:
      client_id: {{file: cloudbeds_id}}
      client_secret: {{file: cloudbeds_secret}}
      refresh_token: {{file: cloudbeds_refresh}}
    webhook: {{}}
""",
        ("hotels", "room_types", "rooms", "reservations", "guests"),
        {
            "cloudbeds_id": "simulated-client",
            "cloudbeds_secret": "simulated-secret",
            "cloudbeds_refresh": "simulated-refresh",
        },
        hooks="registered",
        changes="reservations",
        push=Push("reservations", "note", {"note": "Arrives late"}),
        renews="its token ends; the refresh token is replaced with it",
    ),
    "twilio": Role(
        "office",
        {"messages": 1200, "calls": 120},
        f"""\
driver: twilio
base_url: "{{url}}/2010-04-01/Accounts/{{{{option.account_sid}}}}"
options: {{{{account_sid: {ACCOUNT}}}}}
integrations:
  office:
    credentials: {{{{sid: {{{{file: twilio_sid}}}}, secret: {{{{file: twilio_token}}}}}}}}
    webhook: {{{{secrets: [{{{{file: twilio_token}}}}], url: "{{hook}}"}}}}
""",
        ("messages", "calls", "recordings", "incoming_phone_numbers"),
        {"twilio_sid": ACCOUNT, "twilio_token": "simulated-twilio-token-1"},
        hooks="told",
        changes="messages",
        push=Push(
            "messages", "send", {"to": "+4520550101", "from": "+4515550100", "body": "The gate is open."}, new=True
        ),
    ),
}
