"""The station's link to its hub: the shell of `core/link.py`, whatever carries it."""
