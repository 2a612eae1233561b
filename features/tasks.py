"""What a clip's label is, and so what a model is asked."""

from __future__ import annotations

from typing import Literal

Task = Literal["single-label", "multi-label", "regression"]
"""One class of C; any number of C classes; a number."""
