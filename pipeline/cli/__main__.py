"""`python -m pipeline.cli` is the command `audioheads`."""

from pipeline.cli.app import main

if __name__ == "__main__":
    main()
