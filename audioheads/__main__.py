"""The command `audioheads`, also as `python -m audioheads`."""

from __future__ import annotations

import sys

from audioheads.shadowing import check_own_packages


def main() -> None:
    """Run the command line, unless other packages would be imported in place of ours."""
    try:
        check_own_packages()
    except ImportError as error:
        sys.exit(f"audioheads: {error}")
    from pipeline.cli.app import main as run

    run()


if __name__ == "__main__":
    main()
