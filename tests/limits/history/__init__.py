"""Seeded histories of one scope on the virtual clock, and those who judge them.

`plan` draws a history from its seed, `world` lives it with the real gate, `ledger` judges at the partner's side,
`witness` watches that nobody waits who might go. `python -m tests.limits.history SEED` replays one and tells it.
"""
