"""One record: why is this row so, or why is there none. Every surface that tells of a record asks here."""

from syncd.provenance.story import RECORD_SCHEMA, Call, Provenance

__all__ = ["RECORD_SCHEMA", "Call", "Provenance"]
