"""Models of transformers from `save_pretrained` folders: quietly, offline, and only where their weights fit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.errors import WeightsError, first_line

if TYPE_CHECKING:
    from torch import nn

NOT_NEEDED = {"masked_spec_embed"}  # used in pretraining only


def load_pretrained(
    name: str, folder: Path, model_class: Any, config: Any, part: str = "", **options: Any
) -> nn.Module:
    """The model in a folder; every parameter of the part that is used must be there and fit.

    Args:
        name: The backbone, for messages.
        folder: As `save_pretrained` writes it.
        model_class: Of transformers.
        config: The architecture.
        part: Where in the model what is used is, such as `encoder`; empty: all of it.
        options: Further ones of `from_pretrained`.

    Raises:
        WeightsError: A parameter is missing or has another shape; the message names it.
    """
    import torch

    try:
        model, report = model_class.from_pretrained(
            folder,
            config=config,
            local_files_only=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # so that they can be named
            dtype=torch.float32,
            **options,
        )
    except Exception as error:
        raise WeightsError(f"{name}: {folder} cannot be loaded ({first_line(error)})") from error
    inside = f"{part}." if part else ""
    own = {key for key, _ in model.named_parameters()} - NOT_NEEDED
    missing = sorted(key for key in report["missing_keys"] if key in own and key.startswith(inside))
    mismatched = sorted((each for each in report["mismatched_keys"] if each[0].startswith(inside)), key=str)
    what = f"{missing[0]!r} is missing" if missing else ""
    if mismatched:
        tensor, there, expected = mismatched[0]
        what = f"{tensor!r} has shape {tuple(there)}, expected {tuple(expected)}"
    if what:
        raise WeightsError(f"{name}: {folder} does not fit the architecture: {what}")
    return model


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep transformers from printing while it loads."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
