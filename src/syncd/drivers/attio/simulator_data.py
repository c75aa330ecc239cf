"""Made-up Attio objects, attributes, values, records, entries, tasks and notes (partner facts of 2026-11, section 3)."""

from __future__ import annotations

from typing import Any

from syncd.testing.collection import Raw, World
from syncd.testing.dice import Dice, iso

DAY = 86400.0
STAGES = ("Lead", "In Progress", "Won 🎉", "Lost")
RANGES = ("1-10", "11-50", "51-250", "251-1K")
MEMBER = "workspace-member"

PEOPLE = {
    "name": "personal-name",
    "email_addresses": "email-address*!",
    "phone_numbers": "phone-number*",
    "job_title": "text",
    "description": "text",
    "company": "record-reference:companies",
}
COMPANIES = {
    "name": "text",
    "domains": "domain*!",
    "description": "text",
    "categories": "select*",
    "employee_range": "select",
    "primary_location": "location",
}
DEALS = {
    "name": "text",
    "stage": "status",
    "owner": "actor-reference",
    "value": "currency",
    "associated_people": "record-reference*:people",
    "associated_company": "record-reference:companies",
}
CUSTOM = {
    "name": "text",
    "amount": "number",
    "due": "date",
    "active": "checkbox",
    "score": "rating",
    "seen_at": "timestamp",
}
ENTRY = {"stage": "status", "note": "text", "amount": "number"}
NOUNS = {"people": ("Person", "People"), "companies": ("Company", "Companies"), "deals": ("Deal", "Deals")}


class Attribute:
    """One attribute of an object or list. In `kind`, `*` means several values, `!` unique, `:slug` the referenced object."""

    def __init__(self, dice: Dice, slug: str, kind: str) -> None:
        self.id = dice.uuid()
        self.slug = slug
        plain, _, self.target = kind.partition(":")
        self.kind = plain.rstrip("*!")
        self.many, self.unique = "*" in plain, "!" in plain
        titles = {"status": STAGES, "select": RANGES}.get(self.kind, ())
        self.options = [{"id": dice.uuid(), "title": title} for title in titles]


class Schema:
    """One object or list: its id, slug and attributes; every one also has its own id and created_at as attributes."""

    def __init__(self, dice: Dice, slug: str, kinds: dict[str, str], id_slug: str) -> None:
        self.id = dice.uuid()
        self.slug = slug
        every = {id_slug: "text", **kinds, "created_at": "timestamp", "created_by": "actor-reference"}
        self.attributes = {name: Attribute(dice, name, kind) for name, kind in every.items()}
        self.by_id = {attribute.id: attribute for attribute in self.attributes.values()}
        self.parent = ""

    def attribute(self, name: str) -> Attribute | None:
        """By slug or by id."""
        return self.attributes.get(name) or self.by_id.get(name)


def stamp(at: float) -> str:
    """Attio's nanosecond timestamps."""
    return iso(at, 9)


def value(schema: Schema, attribute: Attribute, given: Any, at: float, actor: Raw, workspace: str) -> Raw:
    """One value as Attio answers it, from a bare value or the mapping that a write sends. Raises ValueError."""
    made: Raw = {"active_from": stamp(at), "active_until": None, "created_by_actor": actor}
    fields: Raw = given if isinstance(given, dict) else {}
    match attribute.kind:
        case "personal-name":
            last, comma, first = str(given).partition(", ") if not fields else ("", "", "")
            if not comma:
                first, last = last, ""
            first, last = fields.get("first_name", first), fields.get("last_name", last)
            more: Raw = {"first_name": first, "last_name": last, "full_name": f"{first} {last}".strip()}
        case "email-address":
            address = str(fields.get("email_address", given)).strip()
            local, at_sign, domain = address.partition("@")
            if not at_sign or "." not in domain:
                raise ValueError(f"{address!r} is not an email address")
            more = {"email_address": address.lower(), "original_email_address": address, "email_domain": domain,
                    "email_root_domain": domain, "email_local_specifier": local}  # fmt: skip
        case "domain":
            domain = str(fields.get("domain", given))
            more = {"domain": domain, "root_domain": ".".join(domain.split(".")[-2:])}
        case "phone-number":
            number = str(fields.get("original_phone_number", given))
            if not number.startswith("+"):
                raise ValueError(f"{number!r} is not in E.164")
            more = {"original_phone_number": number, "country_code": "DE", "phone_number": number}
        case "status" | "select":
            wanted = fields.get(attribute.kind, fields.get("option", given))
            option = next((o for o in attribute.options if wanted in (o["id"], o["title"])), None)
            if option is None:
                raise ValueError(f"Cannot find {attribute.kind} {wanted!r} of {attribute.slug}")
            ids = {"workspace_id": workspace, "object_id": schema.id, "attribute_id": attribute.id}
            if attribute.kind == "status":
                more = {"status": {"id": {**ids, "status_id": option["id"]}, "title": option["title"],
                                   "is_archived": False, "target_time_in_status": None,
                                   "celebration_enabled": False}}  # fmt: skip
            else:
                more = {
                    "option": {"id": {**ids, "option_id": option["id"]}, "title": option["title"], "is_archived": False}
                }
        case "currency":
            more = {
                "currency_value": fields.get("currency_value", given),
                "currency_code": fields.get("currency_code", "EUR"),
            }
        case "record-reference":
            more = {"target_object": fields.get("target_object", attribute.target),
                    "target_record_id": fields.get("target_record_id", given)}  # fmt: skip
        case "actor-reference":
            more = {"referenced_actor_type": fields.get("referenced_actor_type", MEMBER),
                    "referenced_actor_id": fields.get("referenced_actor_id", given)}  # fmt: skip
        case "location":
            empty = dict.fromkeys(("line_1", "line_2", "line_3", "line_4", "locality", "region", "postcode",
                                   "country_code", "latitude", "longitude"))  # fmt: skip
            more = {**empty, **fields}
        case _:
            more = {"value": fields.get("value", given)}
    return {**made, **more, "attribute_type": attribute.kind}


class Mint:
    """Makes what lives in one workspace; facts are in `world.facts`."""

    def __init__(self, dice: Dice, world: World) -> None:
        self.dice = dice
        self.world = world
        self.workspace: str = world.facts["workspace"]
        self.members: list[str] = world.facts["members"]

    def actor(self) -> Raw:
        """A member mostly, now and then Attio's own enrichment."""
        if self.dice.chance(0.1):
            return {"type": "system", "id": None}
        return {"type": MEMBER, "id": self.dice.pick(self.members)} if self.members else {"type": "system", "id": None}

    def some(self, resource: str) -> str | None:
        order = self.world[resource].order if resource in self.world else []
        return self.dice.pick(order)[2] if order else None

    def bare(self, schema: Schema, attribute: Attribute) -> list[Any]:
        """Made-up bare values for one attribute; [] leaves it unset."""
        dice = self.dice
        if attribute.kind not in ("status",) and attribute.slug != "name" and dice.chance(0.25):
            return []
        made: Any
        match attribute.kind:
            case "personal-name":
                first, last = dice.person()
                made = f"{last}, {first}"
            case "email-address":
                made = dice.email()
            case "domain":
                made = f"{dice.code(10).lower()}.example"
            case "phone-number":
                made = dice.phone()
            case "status" | "select":
                made = dice.pick(attribute.options)["title"]
            case "currency":
                made = {"currency_value": dice.between(1000, 90000), "currency_code": "EUR"}
            case "record-reference":
                made = self.some(attribute.target)
            case "actor-reference":
                made = dice.pick(self.members) if self.members else None
            case "location":
                city, _, code, _, lat, lng = dice.city()
                made = {"locality": city, "country_code": code, "latitude": str(lat), "longitude": str(lng)}
            case "number" | "rating":
                made = dice.between(1, 5)
            case "checkbox":
                made = dice.chance(0.5)
            case "date":
                made = f"2026-{dice.between(1, 12):02d}-{dice.between(1, 28):02d}"
            case "timestamp":
                made = stamp(1.77e9 + dice.between(0, 10**7))
            case _:
                made = dice.firm() if attribute.slug == "name" else dice.sentence(dice.between(2, 8))
        return [] if made is None else [made]

    def values(self, schema: Schema, given: dict[str, list[Any]], external_id: str, at: float) -> Raw:
        """Every attribute as an array, the unset ones empty."""
        actor = self.actor()
        made: Raw = {}
        for slug, attribute in schema.attributes.items():
            bare: list[Any]
            if slug in ("record_id", "entry_id"):
                bare = [external_id]
            elif slug == "created_at":
                bare = [stamp(at)]
            elif slug == "created_by":
                bare = [{"referenced_actor_type": actor["type"], "referenced_actor_id": actor["id"]}]
            else:
                bare = given.get(slug, [])
            made[slug] = [value(schema, attribute, one, at, actor, self.workspace) for one in bare]
        return made

    def filled(self, schema: Schema, given: dict[str, list[Any]] | None) -> dict[str, list[Any]]:
        """The given bare values, or made-up ones for every attribute."""
        if given is not None:
            return given
        own = ("record_id", "entry_id", "created_at", "created_by")
        return {slug: self.bare(schema, one) for slug, one in schema.attributes.items() if slug not in own}

    def record(self, schema: Schema, at: float, given: dict[str, list[Any]] | None = None) -> tuple[str, Raw]:
        external_id = self.dice.uuid()
        raw = {
            "id": {"workspace_id": self.workspace, "object_id": schema.id, "record_id": external_id},
            "created_at": stamp(at),
            "web_url": f"https://app.attio.com/simulated/{schema.slug}/{external_id}",
            "values": self.values(schema, self.filled(schema, given), external_id, at),
        }
        return external_id, raw

    def entry(
        self, schema: Schema, at: float, parent: str, given: dict[str, list[Any]] | None = None
    ) -> tuple[str, Raw]:
        external_id = self.dice.uuid()
        raw = {
            "id": {"workspace_id": self.workspace, "list_id": schema.id, "entry_id": external_id},
            "parent_record_id": parent,
            "parent_object": schema.parent,
            "created_at": stamp(at),
            "entry_values": self.values(schema, self.filled(schema, given), external_id, at),
        }
        return external_id, raw

    def task(self, at: float, fields: Raw | None = None) -> tuple[str, Raw]:
        external_id, person = self.dice.uuid(), self.some("people")
        links = [{"target_object_id": "people", "target_record_id": person}] if person else []
        done = self.dice.chance(0.3)
        raw = {
            "id": {"workspace_id": self.workspace, "task_id": external_id},
            "content_plaintext": self.dice.sentence(self.dice.between(3, 9)),
            "deadline_at": stamp(at + 5 * DAY) if self.dice.chance(0.6) else None,
            "is_completed": done,
            "completed_at": stamp(at + DAY) if done else None,
            "linked_records": links,
            "assignees": [{"referenced_actor_type": MEMBER, "referenced_actor_id": m} for m in self.members[:1]],
            "created_by_actor": self.actor(),
            "created_at": stamp(at),
            **(fields or {}),
        }
        return external_id, raw

    def note(self, at: float, fields: Raw | None = None) -> tuple[str, Raw]:
        external_id, text = self.dice.uuid(), self.dice.sentence(12)
        raw = {
            "id": {"workspace_id": self.workspace, "note_id": external_id},
            "parent_object": "companies",
            "parent_record_id": self.some("companies"),
            "title": self.dice.sentence(3),
            "meeting_id": None,
            "content_plaintext": text,
            "content_markdown": text,
            "tags": [],
            "created_by_actor": self.actor(),
            "created_at": stamp(at),
            **(fields or {}),
        }
        return external_id, raw

    def member(self, external_id: str, at: float) -> Raw:
        first, last = self.dice.person()
        return {
            "id": {"workspace_id": self.workspace, "workspace_member_id": external_id},
            "first_name": first,
            "last_name": last,
            "avatar_url": None,
            "email_address": self.dice.email(),
            "access_level": self.dice.pick(("admin", "member", "member", "suspended")),
            "created_at": stamp(at),
        }


def build(dice: Dice, counts: dict[str, int], custom: dict[str, int], now: float, days: int) -> World:
    """A workspace: schemas, members, records oldest first, entries of one list of deals, tasks and notes."""
    objects = {"people": PEOPLE, "companies": COMPANIES, "deals": DEALS, **dict.fromkeys(custom, CUSTOM)}
    schemas = {slug: Schema(dice, slug, kinds, "record_id") for slug, kinds in objects.items()}
    pipeline = Schema(dice, "sales_pipeline", ENTRY, "entry_id")
    pipeline.parent = "companies"
    members = [dice.uuid() for _ in range(counts["workspace_members"])]
    world = World(
        (*schemas, "entries:sales_pipeline", "tasks", "notes", "workspace_members"),
        workspace=dice.uuid(), members=members, objects=schemas, lists={"sales_pipeline": pipeline}, token=dice.uuid(),
        began=now - days * DAY,
    )  # fmt: skip
    mint = Mint(dice, world)
    for number, external_id in enumerate(members):
        at = now - days * DAY - 3600 + number
        world["workspace_members"].add(external_id, mint.member(external_id, at), at)

    def times(count: int) -> list[float]:
        step = days * DAY / max(count, 1)
        return [round(now - days * DAY + (n + dice.portion()) * step - 5, 6) for n in range(count)]

    for slug in ("companies", "people", "deals", *custom):
        for at in times({**counts, **custom}[slug]):
            world[slug].add(*mint.record(schemas[slug], at), at)
    for at in times(counts["entries"]):
        parent = mint.some("companies")
        if parent:
            world["entries:sales_pipeline"].add(*mint.entry(pipeline, at, parent), at)
    for at in times(counts["tasks"]):
        world["tasks"].add(*mint.task(at), at)
    for at in times(counts["notes"]):
        world["notes"].add(*mint.note(at), at)
    return world
