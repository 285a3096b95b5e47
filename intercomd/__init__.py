"""intercomd: a Raspberry Pi becomes an intercom station; a hub routes the calls."""

__version__ = "0.1.0"

RELEASED_S = 1_767_225_600.0
"""2026-01-01, Unix seconds: there was no such version before. A clock that says less was never set."""
