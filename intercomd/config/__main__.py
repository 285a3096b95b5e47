"""`python -m intercomd.config README.md`: rewrite the configuration reference in a README."""

import sys
from pathlib import Path

from intercomd.config.reference import rewrite


def main(argv: list[str]) -> int:
    """Exit status 0 when done, 1 for a README without markers, 2 for a wrong call."""
    if len(argv) != 1:
        sys.stderr.write("usage: python -m intercomd.config README.md\n")
        return 2
    try:
        changed = rewrite(Path(argv[0]))
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{argv[0]}: {'rewritten' if changed else 'nothing to change'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
