"""A driver to begin with: its folder written so that its suite passes at once, from a few words or from a document."""

from syncd.scaffold.choices import AUTHS, PAGINATIONS, WEBHOOKS, Choices, Found, plain_choices
from syncd.scaffold.document import DocumentError, read_document
from syncd.scaffold.guessing import guessed
from syncd.scaffold.place import Place, find_place, to_free
from syncd.scaffold.writing import Written, write

__all__ = [
    "AUTHS",
    "PAGINATIONS",
    "WEBHOOKS",
    "Choices",
    "DocumentError",
    "Found",
    "Place",
    "Written",
    "find_place",
    "guessed",
    "plain_choices",
    "read_document",
    "to_free",
    "write",
]
