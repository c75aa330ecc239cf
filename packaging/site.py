"""What `mkdocs.yml` cannot say: pages that lie outside docs/, and what the built site must not do.

The README is the site's first page; each driver's README, each runbook, the changelog and CONTRIBUTING.md are pages too, and
links among all of them are rewritten, so that every file reads as well where it lies.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parent.parent
DRIVERS = ROOT / "src/syncd/drivers"
RUNBOOKS = ROOT / "src/syncd/runbooks.md"
LINK = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]*)?(\))")
COMMAND = re.compile(r"`syncd runbook ([a-z0-9-]+)`")
FENCE = re.compile(r"(^```.*?^```)", re.MULTILINE | re.DOTALL)
PAGES = {"README.md": "index.md", "CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}


def brought() -> dict[str, tuple[str, str]]:
    """Pages from outside docs/: where each stands on the site -> the file it is from, and its text."""
    found = {place: (name, (ROOT / name).read_text("utf-8")) for name, place in PAGES.items()}
    for file in sorted(DRIVERS.glob("*/README.md")):
        found[f"drivers/{file.parent.name}.md"] = (file.relative_to(ROOT).as_posix(), file.read_text("utf-8"))
    for name, text in runbooks().items():
        found[f"runbooks/{name}.md"] = ("src/syncd/runbooks.md", text)
    return found


def runbooks() -> dict[str, str]:
    """Each trouble's page by its name, and what stands before them as `index`."""
    whole = RUNBOOKS.read_text("utf-8")
    first, *parts = re.split(r"^## (\S+)\n+", whole, flags=re.MULTILINE)
    pages = dict(zip(parts[::2], parts[1::2], strict=True))
    index = [first.strip(), "", *(f"* [{name}]({name}.md)" for name in pages)]
    return {"index": "\n".join(index), **{name: f"# {name}\n\n{body.strip()}\n" for name, body in pages.items()}}


def rewritten(text: str, file: str, place: str, known: Iterable[str]) -> str:
    """A page's text with the links it has where it lies leading to the same pages where it stands on the site."""
    names = set(known)

    def link(match: re.Match[str]) -> str:
        begin, address, anchor, end = match.groups()
        if urlsplit(address).scheme:
            return match[0]
        target = os.path.normpath((Path(file).parent / unquote(address)).as_posix())
        wanted = where(target)
        if wanted is None:
            return match[0]
        return f"{begin}{os.path.relpath(wanted, Path(place).parent.as_posix())}{anchor or ''}{end}"

    def command(match: re.Match[str]) -> str:
        page = f"runbooks/{match[1]}.md"
        return (
            f"[{match[0]}]({os.path.relpath(page, Path(place).parent)})"
            if page in names and page != place
            else match[0]
        )

    pieces = FENCE.split(text)
    pieces[::2] = (re.sub(r"(?<!\[)" + COMMAND.pattern, command, LINK.sub(link, piece)) for piece in pieces[::2])
    return "".join(pieces)


def where(file: str) -> str | None:
    """Where a file of the project stands on the site; None for one that is not there yet."""
    if file in PAGES:
        return PAGES[file]
    if match := re.fullmatch(r"src/syncd/drivers/(\w+)/README\.md", file):
        return f"drivers/{match[1]}.md"
    if file == "src/syncd/runbooks.md":
        return "runbooks/index.md"
    return file.removeprefix("docs/") if file.startswith("docs/") else f"files/{file}"


def linked_files(pages: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Files of the project that pages link to and that are no pages: they are brought along as they are."""
    for file, text in pages:
        for match in LINK.finditer(FENCE.sub("", text)):
            target = os.path.normpath((Path(file).parent / unquote(match[2])).as_posix())
            if (where(target) or "").startswith("files/") and (ROOT / target).is_file():
                yield target


class _Seen(HTMLParser):
    """What a page makes a browser fetch, and where its links lead."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "a":
            self.links.append(given.get("href") or "")
        elif tag == "link" and given.get("rel") not in {"canonical", "next", "prev", "alternate"}:
            self.fetched.append(given.get("href") or "")
        else:
            self.fetched += [given[name] or "" for name in ("src", "srcset", "data", "poster") if name in given]


def troubles(site: Path) -> list[str]:
    """What is wrong with a built site: what it fetches from elsewhere, and pages that nothing leads to."""
    found, links = [], {}
    for page in sorted(site.rglob("*.html")):
        seen = _Seen()
        seen.feed(page.read_text("utf-8"))
        name = page.relative_to(site).as_posix()
        found += [f"{name} fetches {url}" for url in seen.fetched if urlsplit(url).netloc]
        links[name] = {
            os.path.normpath((Path(name).parent / unquote(urlsplit(link).path)).as_posix())
            for link in seen.links
            if link and not urlsplit(link).netloc and urlsplit(link).path
        }
    for style in sorted(site.rglob("*.css")):
        urls = re.findall(r"(?:url\(|@import\s+)[\"']?((?:https?:)?//[^\"')\s]+)", style.read_text("utf-8"))
        found += [f"{style.relative_to(site).as_posix()} fetches {url}" for url in urls]
    reached, ahead = set(), ["index.html"]
    while ahead:
        name = ahead.pop()
        if name not in reached and name in links:
            reached.add(name)
            ahead += links[name]
    return found + [f"nothing leads to {name}" for name in sorted(set(links) - reached - {"404.html"})]


def on_config(config: Any) -> Any:
    config.nav = [_opened(entry, config.docs_dir) for entry in config.nav]
    return config


def on_files(files: Any, config: Any) -> Any:
    from mkdocs.structure.files import File

    pages = brought()
    for place, (_, text) in pages.items():
        files.append(File.generated(config, place, content=text))
    own = [(f"docs/{each.src_uri}", each.content_string) for each in files if each.is_documentation_page()]
    for name in set(linked_files([*own, *pages.values()])):
        files.append(File.generated(config, f"files/{name}", abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    place = page.file.src_uri
    file = brought().get(place, (f"docs/{place}", ""))[0]
    return rewritten(markdown, file, place, files.src_uris)


def on_post_build(config: Any) -> None:
    from mkdocs.exceptions import Abort

    if found := troubles(Path(config.site_dir)):
        raise Abort("the built site will not do:\n" + "\n".join(found))


def _opened(entry: Any, docs: str) -> Any:
    """A folder in the navigation is all pages of it."""
    if not isinstance(entry, dict):
        return entry
    ((title, below),) = entry.items()
    if isinstance(below, list):
        return {title: [_opened(each, docs) for each in below]}
    if not str(below).endswith("/"):
        return entry
    pages = [name for name in brought() if name.startswith(below)]
    pages += sorted(path.relative_to(docs).as_posix() for path in Path(docs, below).glob("*.md"))
    first = [name for name in pages if Path(name).stem in {"index", "README"}]
    return {title: first + [name for name in pages if name not in first]}
