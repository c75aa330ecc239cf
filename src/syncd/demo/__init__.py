"""`syncd demo`: eight simulated partners, a private PostgreSQL and the real daemon, on this machine and for a minute or two.

Nothing is faked for it: the simulators speak HTTP on loopback, enforce the partners' true limits and count violations; the
daemon is the one `syncd run` starts. Everything lives below one temporary directory, which goes with the process.
"""

from syncd.demo.show import run

__all__ = ["run"]
