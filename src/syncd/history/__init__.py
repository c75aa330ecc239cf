"""What people, reloads and the daemon did: each row of `audit_log` as a line to be read, and as a mark on a plot."""

from syncd.history.changes import CHANGES_SCHEMA, Changes
from syncd.history.telling import kind_of, text_of

__all__ = ["CHANGES_SCHEMA", "Changes", "kind_of", "text_of"]
