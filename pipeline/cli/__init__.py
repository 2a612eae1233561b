"""The command line `audioheads`."""

from pipeline.cli.app import main

__all__ = ["main"]
