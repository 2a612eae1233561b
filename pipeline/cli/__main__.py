"""Make `python -m pipeline.cli` run the `audioheads` command."""

from pipeline.cli.app import main

if __name__ == "__main__":
    main()
