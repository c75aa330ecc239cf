"""syncd keeps a copy of your partners' data, in your own PostgreSQL, right."""

__version__ = "0.1.0"
