"""The README of a new driver: the headings every driver has, each entry dated, and what is not known said to be so."""

from __future__ import annotations

from syncd.scaffold.choices import Choices, Found

_AUTH = {
    "none": "No credential.",
    "api_key": "An API key, `api_key`.",
    "basic": "HTTP basic, `username` and `password`.",
    "bearer": "A token that does not end, `token`.",
    "oauth2_client": "OAuth 2 client credentials, `client_id` and `client_secret`; tokens are obtained and renewed.",
    "oauth2_refresh": "OAuth 2 with a refresh token: `client_id`, `client_secret`, `refresh_token`; a rotated one is kept.",
    "signer": "Each call is signed with `secret`: `sign` in driver.py, by HMAC-SHA256 over time, method and path.",
}


def readme(choices: Choices, day: str) -> str:
    """What there is, and what has to be found out."""
    month = day[:7]
    came = f"guessed from {choices.source}" if choices.source else "an assumption"
    rows = "\n".join(_row(found) for found in choices.resources)
    hooks = (
        f"* {month} [A] Deliveries are signed as `{choices.webhooks}` says; the events in `driver.yaml` are assumed."
        if choices.webhooks not in {"none", "unsigned"}
        else f"* {month} [A] Deliveries are not signed: the last part of our URL is the secret, and a record is read again."
        if choices.webhooks == "unsigned"
        else f"* {month} [A] None are known."
    )
    return f"""# {choices.title}

Begun on {day}. Marks: **[D]** documented, with a link; **[O]** observed, with the date; **[A]** assumed or guessed, to be
replaced. A line without a source and a date is no fact.

## Resources

| resource | listing | pages | what changed | children of |
|---|---|---|---|---|
{rows}

* {month} [A] Paths, ids and fields are {came}.

## Limits

| what | stated | observed | what we use |
|---|---|---|---|
| calls | not known [A] {month} | | 70 % of 10 a second |
| at once | not known [A] {month} | | 4 |

## Auth

* {month} [A] {_AUTH[choices.proof.kind]}

## Oddities

* {month} None are known yet. `syncd dryrun INTEGRATION/RESOURCE --save` shows what the partner really sends, and keeps it.

## Webhooks

{hooks}

## Support

* {month} Where the partner's documentation is, who answers there, and who looks after this driver: to be written here.
"""


def _row(found: Found) -> str:
    rows = found.rows
    pages = {"none": "one page"}.get(rows.paging.kind, rows.paging.kind)
    since = f"`{rows.since}`" if rows.since and rows.updated else "whole, told apart by content"
    return f"| {rows.name} | `{rows.path}` | {pages} | {since} | {rows.parent or ''} |"
