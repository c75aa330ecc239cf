"""Answers of a dry run as samples of the driver: scrubbed, and with the calls the driver makes when it is given them.

What a sample expects is what the driver makes of the scrubbed answers, so a sample never shows what was not looked at: who
keeps one reads it, and so says that this is right.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from syncd import codec
from syncd.dryrun.reading import DryRun, Exchange
from syncd.dryrun.scrub import Scrubber
from syncd.dryrun.spelling import answered, call_told, cut_to, is_xml, written
from syncd.errors import PayloadError, SyncdError
from syncd.kit import Checkpoint, Mode, Resource, Response
from syncd.kit.paths import getter

BASE_URL = "https://partner.example"
"""Where the partner is in samples of a driver that has no base URL of its own."""
KEPT_HEADERS = (
    "content-type", "link", "date", "etag", "last-modified", "retry-after", "ratelimit", "ratelimit-policy",
)  # fmt: skip
_MOMENTS = frozenset({"timestamp", "mail_date", "date"})
_PREFIXES = ("x-ratelimit-", "x-rate-limit-", "ratelimit-", "x-total", "x-page", "x-next", "x-pagination")
DEFAULT_CASE = "live"


class LeakError(SyncdError):
    """Something that had to be replaced still stands in what was to be saved. Nothing is saved."""


def samples(dry: DryRun, *, case: str = DEFAULT_CASE) -> dict[str, dict[str, Any]]:
    """File name: content. Of the pages that were read, and of the first sound record on them. Empty: no record was on
    them, and an empty page says nothing of how records read.

    Raises LeakError. What cannot be a sample is said in `dry.notes`.
    """
    exchanges = _one_walk(dry.exchanges)
    if not any(one.records for one in exchanges):
        return {}
    return _Cassette(dry, exchanges, case).made()


class _Cassette:
    def __init__(self, dry: DryRun, exchanges: list[Exchange], case: str) -> None:
        self._dry = dry
        self._case = case
        self._exchanges = exchanges
        account = dry.account
        self._driver, self._resource = account.driver, dry.resource
        self._adapter = dry.adapter
        spec = getattr(self._driver, "spec", None)
        self._base = str(getattr(spec, "base_url", None) or BASE_URL).rstrip("/")
        self._real = _base_of(exchanges[0].response.url, dry)
        self._scrubber = Scrubber(_key(dry), hosts={self._real: self._base} if self._real else {})
        self._documents = [self._document(exchange) for exchange in exchanges]
        self._learn()
        self._resource = self._as_played()

    def made(self) -> dict[str, dict[str, Any]]:
        name = self._resource.name
        found: dict[str, dict[str, Any]] = {}
        pages = self._pages()
        if pages is not None:
            found[f"{name}.{self._case}.pages.json"] = pages
        record = self._record()
        if record is not None:
            found[f"{name}.{self._case}.json"] = record
        for file, content in found.items():
            if self._scrubber.left_in(self._told(content)):
                raise LeakError(
                    f"{file}: a value that was to be scrubbed is still in it; nothing was saved",
                    hint="a fault of syncd's, please report it (without the value)",
                )
        return found

    # -- what came

    def _document(self, exchange: Exchange) -> Any:
        """The parsed body with no more records than were wanted; text where it is no JSON."""
        try:
            body = exchange.response.json()
        except PayloadError:
            return exchange.response.text
        return cut_to(body, exchange.whole, exchange.records) if exchange.records < exchange.whole else body

    def _as_played(self) -> Resource:
        """The resource as the player makes it: of the scrubbed options, where paths may come from them."""
        dry = self._dry
        try:
            found = self._driver.resources(self._settings())[dry.resource.name]
        except (SyncdError, KeyError):
            return dry.resource
        return found if dry.own_page_size else found.model_copy(update={"page_size": dry.resource.page_size})

    def _headers(self, exchange: Exchange) -> dict[str, str]:
        kept = {
            name: value
            for name, value in exchange.response.headers.lower.items()
            if name in KEPT_HEADERS or name.startswith(_PREFIXES)
        }
        if kept.get("content-type", "").partition(";")[0] == "application/json" or is_xml(exchange):
            del kept["content-type"]  # the player's own
        return kept

    def _learn(self) -> None:
        scrubber = self._scrubber
        for exchange, document in zip(self._exchanges, self._documents, strict=True):
            self._keep_moments(exchange)
            scrubber.learn(exchange.response.url, "url")
            if is_xml(exchange):
                scrubber.learn_text(exchange.response.text)
            if isinstance(document, str):
                scrubber.learn_text(document)
            else:
                scrubber.learn(document)
            for name, value in self._headers(exchange).items():
                if name == "link":
                    for link in value.replace("<", " ").replace(">", " ").split():
                        scrubber.learn(link, "link")
                elif name.startswith(("x-next", "x-pagination")):
                    scrubber.learn(value, "cursor")
            if exchange.parent_id is not None:
                scrubber.learn(exchange.parent_id, "id")
                scrubber.learn(dict(exchange.parent or {}))
        scrubber.learn(
            {name: value for name, value in self._dry.account.options.items() if not self._is_ours(name, value)}
        )

    def _keep_moments(self, exchange: Exchange) -> None:
        """What the description calls a moment or a day is one, however it is written; a birthday is left to its name."""
        fields = self._resource.mapped(self._adapter).items()
        moments = [
            getter(each.source or name) for name, each in fields if each.kind in _MOMENTS and "birth" not in name
        ]
        for item in self._driver.items(self._resource, exchange.response):
            for get in moments:
                value = get(item.raw) if item.raw is not None else None
                if isinstance(value, str):
                    self._scrubber.keep(value)

    # -- what becomes of it

    def _answers(self) -> list[dict[str, Any]]:
        made = []
        for exchange, document in zip(self._exchanges, self._documents, strict=True):
            told: dict[str, Any] = {}
            if exchange.response.status_code != 200:
                told["status"] = exchange.response.status_code
            headers = {name: self._scrubber.text(value) for name, value in self._headers(exchange).items()}
            if headers:
                told["headers"] = headers
            if is_xml(exchange):
                told["xml"] = self._scrubber.document(exchange.response.text)
            elif isinstance(document, str):
                told["text"] = self._scrubber.document(document)
            else:
                told["body"] = codec.loads(codec.dumps(self._scrubber.scrub(document)))
            made.append(told)
        return made

    def _url(self, exchange: Exchange) -> str:
        """Where it was answered, as the sample tells it: some drivers read there whose records these are."""
        return self._scrubber.text(exchange.response.url)

    def _pages(self) -> dict[str, Any] | None:
        """The walk as the driver makes it when it is given the scrubbed answers."""
        driver, resource, dry = self._driver, self._resource, self._dry
        mode = Mode.FULL if dry.since is None else Mode.INCREMENTAL
        checkpoint = Checkpoint("test", resource.name, mode=mode, since=dry.since)
        told: dict[str, Any] = {}
        if dry.since is not None:
            told["since"] = written(dry.since)
        if not dry.own_page_size:
            told["page_size"] = resource.page_size
        told |= self._options()
        first, ids, pages = self._exchanges[0], list[str](), list[dict[str, Any]]()
        try:
            if first.parent_id is None:
                request = driver.request(resource, checkpoint)
            else:
                parent_id = self._scrubber.text(first.parent_id)
                parent = self._scrubber.scrub(dict(first.parent)) if first.parent is not None else None
                told |= {"parent_id": parent_id} | ({} if parent is None else {"parent": parent})
                request = driver.child_request(resource, parent_id, checkpoint, parent)
            walk = driver.pages(resource, request)
            next(walk)
            goes_on = True
            for exchange, answer in zip(self._exchanges, self._answers(), strict=True):
                url = self._url(exchange)
                response = answered(answer, url, exchange)
                page = {"request": call_told(request), "url": url, "answer": answer}
                ids += self._ids(response)
                pages.append(page)
                try:
                    request = walk.send(response)
                except StopIteration:
                    goes_on = False
                    break
        except SyncdError as error:
            dry.notes.append(f"the pages make no sample: scrubbed, the driver says of them: {error}")
            return None
        if goes_on:
            told["goes_on"] = True
        return {**told, "ids": ids, "pages": pages}

    def _ids(self, response: Response) -> list[str]:
        found: list[str] = []
        for item in self._driver.items(self._resource, response):
            known = item.identity
            if known is None and item.raw is not None:
                known = self._driver.identify(self._resource, item.raw, self._adapter)
            if known is not None:
                found.append(known.external_id)
        return found

    def _record(self) -> dict[str, Any] | None:
        """The first record that is sound before and after scrubbing."""
        driver, resource, dry = self._driver, self._resource, self._dry
        lost = ""
        for exchange, answer in zip(self._exchanges, self._answers(), strict=True):
            try:
                items = driver.items(resource, answered(answer, self._url(exchange), exchange))
            except SyncdError:
                continue
            for item in items:
                if item.raw is None or item.resource != resource.name:
                    continue
                try:
                    record = driver.normalize(resource, item.raw, self._adapter)
                except PayloadError as error:
                    lost = str(error)
                    continue
                who = record.identity
                told: dict[str, Any] = {"raw": item.raw, "id": who.external_id}
                if who.source_updated_at is not None:
                    told["updated_at"] = written(who.source_updated_at)
                if who.source_version is not None:
                    told["version"] = who.source_version
                if who.parent_id is not None:
                    told["parent_id"] = who.parent_id
                if who.deleted:
                    told["deleted"] = True
                if self._adapter not in {"", "v1"}:
                    told["adapter"] = self._adapter
                return {**told, **self._options(), "data": codec.loads(codec.dumps(record.data))}
        if lost:
            dry.notes.append(f"no record makes a sample: {lost}")
        return None

    def _options(self) -> dict[str, Any]:
        options = self._settings()
        return {"options": options} if options else {}

    def _settings(self) -> dict[str, Any]:
        """The integration's options, scrubbed, but for what the driver itself offers: it takes no other word.

        Defaults too: what a sample leaves out, the `options.json` beside it says.
        """
        given = self._dry.account.options
        offered = self._driver.spec.options
        return {name: option.default for name, option in offered.items() if name not in given} | {
            name: value if self._is_ours(name, value) else self._scrubber.scrub(value) for name, value in given.items()
        }

    def _is_ours(self, name: str, value: Any) -> bool:
        option = self._driver.spec.options.get(name)
        return option is not None and (value in option.choices or value == option.default)

    def _told(self, content: Mapping[str, Any]) -> Any:
        """What of a sample came from the partner: its requests, and what it offers as options, are the driver's own words."""
        told = dict(content)
        if "pages" in told:
            told["pages"] = [{"answer": page["answer"], "url": page["url"]} for page in content["pages"]]
        options = content.get("options", {}).items()
        told["options"] = {name: value for name, value in options if not self._is_ours(name, value)}
        return told


def _one_walk(exchanges: list[Exchange]) -> list[Exchange]:
    """The pages of one listing: of a child those below the first parent that has any."""
    chosen = next((one.parent_id for one in exchanges if one.records), None)
    return [one for one in exchanges if one.parent_id == chosen]


def _base_of(url: str, dry: DryRun) -> str:
    """What stands before the listing's own path where it was answered."""
    path = dry.resource.path.partition("{")[0].rstrip("/")
    before, found, _ = url.partition("?")[0].rpartition(path) if path else ("", "", "")
    return before if found and "://" in before else ""


def _key(dry: DryRun) -> bytes:
    """The same for one account as long as its credentials are; nobody without them can tell a value from its stand-in."""
    keys = dry.account.keys
    secrets = sorted(secret.reveal() for secret in keys.configured.values()) if keys is not None else []
    text = "\n".join(["syncd samples", dry.account.partner, dry.account.name, *secrets])
    return hashlib.sha256(text.encode()).digest()
