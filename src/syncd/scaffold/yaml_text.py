"""`driver.yaml` and the partner's file, as a person would begin to write them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from syncd.scaffold.choices import Choices, Found
from syncd.testing.stated import Paging


def flow(value: Any) -> str:
    """A value on one line."""
    text: str = yaml.safe_dump(value, default_flow_style=True, width=10**9, sort_keys=False, allow_unicode=True)
    return text.strip().removesuffix("...").strip()


def driver_yaml(choices: Choices, day: str) -> str:
    """The description. What was guessed says so."""
    lines = [
        f"# {choices.title}, begun on {day}" + (f" from {choices.source}." if choices.source else "."),
        "# docs/writing-a-driver.md explains every key; README.md beside this file says what is known of the partner.",
        *(f"# guessed: {note}" for note in choices.notes),
        f"title: {flow(choices.title)}",
        f"base_url: {choices.base_url}",
        f"auth: {flow(dict(choices.auth))}",
        "limits: {tiers: [10/s], concurrency: 4}   # an assumption: put the stated ones here, with their date in README.md",
        "errors: {code: error.code, message: error.message}",
        f"quality: {flow({'tier': 'bronze', 'owner': choices.owner or 'nobody yet'})}",
        "resources:",
    ]
    for found in choices.resources:
        lines += [f"  {line}" for line in _resource(found)]
    if choices.webhooks != "none":
        lines += _webhooks(choices)
    return "\n".join(lines) + "\n"


def _resource(found: Found) -> list[str]:
    rows = found.rows
    lines = [f"{rows.name}:", *(f"  # guessed: {note}" for note in found.notes)]
    said: dict[str, Any] = {} if found.enabled else {"enabled": False}
    said["path"] = rows.path
    if rows.method == "POST":
        said["method"] = "POST"
    if rows.parent:
        said["parent"] = rows.parent
    if rows.records:
        said["records"] = rows.records
    if rows.id != "id":
        said["id"] = rows.id
    if rows.updated:
        kind = rows.stamp_as
        said["updated"] = rows.updated if kind == "timestamp" else {"from": rows.updated, "as": kind}
    if rows.paging.total:
        said["total"] = rows.paging.total
    pages = pages_of(rows.paging, rows.id)
    if pages:
        said["pages"] = pages
    if found.page_size is not None:
        said["page_size"] = found.page_size
    if rows.since and rows.updated:
        said["since"] = {"param": rows.since, "overlap": found.overlap}
    if rows.one:
        said["one"] = {"path": rows.one, "records": rows.one_records} if rows.one_records else rows.one
    lines += [f"  {name}: {flow(value)}" for name, value in said.items()]
    lines += ["  fields:"] if found.fields else []
    for name, told in found.fields.items():
        lines.append(f"    {name}: {flow(_field(name, told))}")
    return lines


def _field(name: str, told: Mapping[str, str]) -> Any:
    if set(told) <= {"from"}:
        return told.get("from", name)
    return dict(told)


def pages_of(paging: Paging, id_path: str) -> dict[str, Any]:
    """As it stands under `pages:`."""
    size = {"size": paging.size} if paging.size else {}
    place = {"in": "body"} if paging.place == "body" else {}
    match paging.kind:
        case "cursor" if paging.next:
            return {"kind": "cursor", **place, "param": paging.param, "next": paging.next, **size}
        case "cursor":
            more = {"more": paging.more} if paging.more else {}
            return {"kind": "cursor", **place, "param": paging.param, "last": id_path, **more, **size}
        case "offset":
            return {"kind": "offset", **place, "param": paging.param, **size}
        case "page":
            pages = {"total_pages": paging.pages} if paging.pages else {}
            first = {} if paging.first is None else {"first": paging.first}
            return {"kind": "page", **place, "param": paging.param, **size, **pages, **first}
        case "next":
            return {"kind": "next", "next": paging.next, **size}
        case "link":
            return {"kind": "link", **size}
    return {}


def header_of(choices: Choices) -> str:
    """The header deliveries are signed in, where the scheme has none of its own."""
    title = choices.title.replace(" ", "-")
    return f"X-{title}-Signature" if choices.webhooks.startswith("hmac") else ""


def hooks_of(choices: Choices) -> dict[str, Any]:
    """What a simulator has to know to sign."""
    header = header_of(choices)
    verify = "none" if choices.webhooks == "unsigned" else choices.webhooks
    return {"verify": verify, **({"header": header} if header else {})}


def _webhooks(choices: Choices) -> list[str]:
    named = [found.rows.name for found in choices.resources if not found.rows.parent]
    routes = {f"{name}.{what}": name for name in named for what in ("created", "updated", "deleted")}
    lines = ["webhooks:", *(f"  {key}: {flow(value)}" for key, value in hooks_of(choices).items())]
    lines += [
        "  event_id: id",
        "  type: type",
        f"  id: {'data_id' if choices.webhooks == 'twilio' else 'data.id'}",
        "  at: at",
        "  routes:",
        *(f"    {event}: {name}" for event, name in routes.items()),
        "  deletes:",
        *(f"    - {name}.deleted" for name in named),
        "  # subscriptions: how it is asked for them, where it has an API for that (docs/writing-a-driver.md, Being told)",
    ]
    return lines


def partner_yaml(choices: Choices) -> str:
    """The partner's file in a package: what it takes, and no more."""
    name = choices.name
    given = _credentials(choices, f"{{env: {name.upper()}_%s}}", upper=True)
    return f"""\
# {choices.title}. Put the secrets in place, run `syncd check`. docs/configuration.md has every other key.

driver: {name}

integrations:
  {name}_main:                  # unique over all files; it is the key in every table
    # base_url: {choices.base_url}  # a sandbox or a simulator
{given}
"""


def example_yaml(choices: Choices, template: str) -> str:
    """The example in a checkout, which shows every key: as that of `driver: rest` does, with this driver's own in place."""
    name, resource = choices.name, choices.resources[0]
    first, rows = resource.rows.name, resource.rows
    strategy = "incremental" if rows.since and rows.updated else "full"
    head, _, rest = template.partition("driver: rest\n")
    before, described, after = rest.partition("\nrest:\n")
    if described:
        rest = before + "\n" + after.partition("\n\n")[2]
    lines: list[str] = []
    skipping = False
    for line in rest.splitlines():
        if line.strip() == "credentials:":
            lines += _credentials(choices, f"{{file: {name}/%s}}").splitlines()
            skipping = True
        elif skipping and line.startswith("      "):
            continue
        elif not line.strip().startswith("#   rules:"):
            skipping = False
            lines.append(line)
    text = "\n".join(lines)
    for old, new in (
        ("https://api.boatyard.example/v1", choices.base_url),
        ("<NAME>", name.upper()),
        ("BOATYARD", f"{name}_main".upper()),
        ("  boatyard: ", f"  {name}_main: "),
        ("scope: boatyard", f"scope: {name}_main"),
        ("boatyard", name),
        ("#   boats:", f"#   {first}:"),
        (
            "[14/s, 420/min]      # used whole, unlike what is stated above",
            "[5/s]                # used whole, unlike what is stated",
        ),
        ("concurrency: 4", "concurrency: 2"),
        ("strategy: incremental ", f"strategy: {strategy:<12}"),
        ("page_size: 50", f"page_size: {resource.page_size or 50}"),
        ("specs/rest.json", f"specs/{name}.json"),
        ("hooks.example.com/rest", f"hooks.example.com/{name}"),
        ("rest.webhooks", "the driver's webhooks"),
        ("rest.media", "the driver's media"),
        ("is taken from `rest:`", "is the driver's choice"),
        ("than those above", "than the driver's own"),
    ):
        text = text.replace(old, new)
    return f"""\
{head.partition(chr(10))[0]}
#
# {choices.title}. Copy to {name}.yaml (the file's name is the partner's name), put the secrets in place, run `syncd check`.
# Every key is shown, commented out, with its default where it has one; docs/configuration.md explains each.

driver: {name}
{text}
"""


def _credentials(choices: Choices, reference: str, *, upper: bool = False) -> str:
    if not choices.proof.credentials:
        return "    credentials: {}"
    given = [f"      {key}: {reference % (key.upper() if upper else key)}" for key in choices.proof.credentials]
    return "\n".join(["    credentials:", *given])
