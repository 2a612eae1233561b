"""Where the project and the shared data are."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
"""Corpora and weights, next to the checkout; tests that need them skip where it is missing."""
