"""Shipped helpers for simulators, the demo and tests; the daemon imports nothing from here."""
