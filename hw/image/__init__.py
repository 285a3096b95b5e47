"""`make image`: the bootable image of a station, and the trees of Debian that it and the tests' machines are of."""

from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
"""The checkout."""
