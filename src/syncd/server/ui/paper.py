"""The templates, compiled once: in a thread and with the first page, so that a start costs nothing and the loop goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
from anyio import to_thread

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"


class Paper:
    """Renders templates. Everything put into them is escaped, but for what another template rendered."""

    def __init__(self) -> None:
        self._environment: Environment | None = None
        self._loading = anyio.Lock()

    async def ready(self) -> None:
        """Load and compile all of them, the first time."""
        async with self._loading:
            if self._environment is None:
                self._environment = await to_thread.run_sync(_load)

    def render(self, name: str, said: Mapping[str, Any]) -> str:
        """`name` without its ending. After `ready()`."""
        assert self._environment is not None
        return self._environment.get_template(f"{name}.html").render(said)

    def renderer(self, name: str) -> Callable[[Mapping[str, Any]], str]:
        """The same for many: what is looked up for each is looked up once."""
        assert self._environment is not None
        return self._environment.get_template(f"{name}.html").render

    def safe(self, text: str) -> str:
        """Marks what a template rendered as ready to stand in another one."""
        from markupsafe import Markup

        return Markup(text)  # noqa: S704 - a template's own output, escaped there


def _load() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    from syncd.server.ui import shown

    class Plain(Environment):
        """What is put into templates are plain mappings, mostly: their keys come first, without an exception for each."""

        def getattr(self, obj: Any, attribute: str) -> Any:
            if type(obj) is dict and attribute in obj:
                return obj[attribute]
            return super().getattr(obj, attribute)

    environment = Plain(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        auto_reload=False,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        cache_size=-1,
    )
    environment.filters.update(shown.FILTERS)
    for name in environment.list_templates():
        environment.get_template(name)
    return environment
