"""Load transformers models from `save_pretrained` folders: without output, offline, and with strict checks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.backbones.loading import model_folders as folders
from features.backbones.loading.audio_parts import AudioPart
from features.errors import WeightsError, first_line

if TYPE_CHECKING:
    from torch import Tensor, nn

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
        options: Further arguments of `from_pretrained`; `state_dict`: tensors in place of the folder's.

    Raises:
        WeightsError: A parameter is missing or has another shape; the message names it.
    """
    import torch

    try:
        model, report = model_class.from_pretrained(
            None if "state_dict" in options else folder,
            config=config,
            local_files_only=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # reported below with their names
            dtype=torch.float32,
            **options,
        )
    except Exception as error:
        files = [path.name for path in folders.weight_files(folder)]
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


def load_part(name: str, folder: Path, part: AudioPart, config: Any) -> nn.Module:
    """Load the audio encoder of a larger model in a folder; tensors of other parts are not read.

    Args:
        name: The backbone, for messages.
        folder: Folder from `save_pretrained`, with weights as safetensors.
        part: Where the encoder is.
        config: The architecture of the larger model.

    Raises:
        WeightsError: A parameter is missing or has another shape, or the weights cannot be read.
    """
    from transformers.models.auto.modeling_auto import MODEL_MAPPING

    own = part.config_in(config)
    tensors = read_tensors(name, folder, part)
    return load_pretrained(name, folder, MODEL_MAPPING[type(own)], own, state_dict=tensors)


def read_tensors(name: str, folder: Path, part: AudioPart) -> dict[str, Tensor]:
    """Read the tensors of an audio encoder from the weights of a larger model, by their names in the encoder.

    Raises:
        WeightsError: A file cannot be read.
    """
    from safetensors import SafetensorError, safe_open

    found: dict[str, Tensor] = {}
    for path in folders.weight_files(folder):
        try:
            with safe_open(path, framework="pt") as file:
                for key in file.keys():  # noqa: SIM118 – not a mapping
                    if own := part.name_in_encoder(key):
                        found[own] = file.get_tensor(key)
        except (OSError, SafetensorError) as error:
            raise WeightsError(f"{name}: {path} cannot be read ({first_line(error)})") from error
    return found


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
