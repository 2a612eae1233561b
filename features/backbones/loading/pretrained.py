"""Load transformers models from `save_pretrained` folders: without output, offline, and with strict checks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.backbones.loading.model_folders import weight_files
from features.errors import WeightsError, first_line

if TYPE_CHECKING:
    from torch import nn

NOT_NEEDED = {"masked_spec_embed"}  # used in pretraining only


def load_pretrained(
    name: str, folder: Path, model_class: Any, config: Any, part: str = "", **options: Any
) -> nn.Module:
    """Load the model in a folder; every parameter of the used submodule must be present and fit.

    Args:
        name: The backbone, for messages.
        folder: Folder from `save_pretrained`.
        model_class: Class of transformers.
        config: The architecture.
        part: Name of the submodule that is used, such as `encoder`; empty: the whole model.
        options: Further arguments of `from_pretrained`.

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
            ignore_mismatched_sizes=True,  # reported below with their names
            dtype=torch.float32,
            **options,
        )
    except Exception as error:
        files = [path.name for path in weight_files(folder)]
        weights = files[0] if len(files) == 1 else f"the {len(files)} files of its weights"
        raise WeightsError(
            f"{name}: {folder} cannot be loaded ({first_line(error)}); if {weights} cannot be read, download it again"
        ) from error
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
    """Suppress the output of transformers while it loads."""
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
