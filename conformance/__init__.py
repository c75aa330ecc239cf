"""The same answers through well-known tools: `make conformance` measures how long each waits, and writes it down."""
