"""intercomd: a Raspberry Pi becomes an intercom station; a hub routes the calls."""

__version__ = "0.1.0"
