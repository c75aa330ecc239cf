"""Credentials as operators see them: what there is, how old it is, replacing it, allowing it, and the keys that seal it."""
