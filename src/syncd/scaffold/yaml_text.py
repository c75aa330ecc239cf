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
    ]
    return lines


def partner_yaml(choices: Choices, *, package: bool) -> str:
    """The partner's file: what it takes, and every other key with its default, commented out."""
    name, first = choices.name, choices.resources[0].rows.name
    integration = f"{name}_main"
    schema = "" if package else "# yaml-language-server: $schema=../schema/partner.json\n#\n"
    copy = "Put" if package else f"Copy to {name}.yaml (the file's name is the partner's name), put"
    credentials = "    credentials: {}"
    if choices.proof.credentials:
        env = f"{{env: {name.upper()}_%s}}" if package else f"{{file: {name}/%s}}"
        given = [f"      {key}: {env % (key.upper() if package else key)}" for key in choices.proof.credentials]
        credentials = "\n".join(["    credentials:", *given])
    return f"""\
{schema}# {choices.title}. {copy} the secrets in place, run `syncd check`.
# Every key is shown with its default, commented out; docs/configuration.md explains each.

driver: {name}
# enabled: true                 # false, or SYNCD_PARTNER_{name.upper()}_ENABLED=false, stops all of it
# base_url: {choices.base_url}
# workers: 8                    # coroutines that the integrations below share
# deadline: 30s                 # of one call, all tries together
# response_size: 32MiB          # largest answer accepted, after inflation

# limits:                       # tighter than the driver's own; a looser one wants accept_risk: true
#   tiers: [5/s]
#   concurrency: 2
#   share: 0.7                  # of what the partner states
#   lanes: {{high: 0.2}}          # reserved for urgent work, lent out while unused
#   breaker: {{failures: 5, cooldown: 30s, longest_cooldown: 5m, ratio: 0.8, calls: 20}}
#   accept_risk: false

# options: {{}}                   # the driver's own; its README lists them

# resources:                    # defaults for all integrations below; what is left out is the driver's choice
#   {first}:
#     enabled: true
#     every: 15m
#     cron: "30 4 * * *"        # instead of every; UTC
#     jitter: 30s
#     strategy: full
#     full_every: 1d            # a complete pass: finds deletions and what incremental runs missed
#     backup_every: 1d          # strategy: webhooks: instead of every, while deliveries come
#     overlap: 2m
#     history: changes          # off, changes (updates and deletes), full
#     page_size: 50
#     guard: {{share: 0.2, records: 500}} # more deletions than the lesser of these wait for `syncd reconcile --confirm`
#     expires: 6h               # derived work that waited longer is dropped and counted; default: never

integrations:
  {integration}:                # unique over all files; it is the key in every table
    # enabled: true             # or SYNCD_INTEGRATION_{integration.upper()}_ENABLED
    # base_url: {choices.base_url}  # a sandbox or a simulator
    # scope: {integration}      # integrations that name one scope share its limits
{credentials}
    # webhook:
    #   secrets: [{{file: {name}/webhook_secret}}] # two while one is rotated
    #   tolerance: 5m
    #   url: https://hooks.example.com/{name} # where it reaches us, if not below server.public_url
    #   per_second: 2000         # deliveries; more are told to come later
    #   silence: 2h              # pull when none came for so long; or off. Default: learned
    # adapter: v1
    # options: {{}}
    # resources: {{}}
    # origins: []
    # accept_risk: false
"""
