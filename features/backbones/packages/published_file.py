"""Networks of this project whose weights are one published file, or random."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import Field

from features.backbones.base import Bundle, load_strictly
from features.backbones.loading import weights as found
from features.backbones.loading.digests import file_sha256, text_sha256
from features.backbones.loading.hub_files import HUB, find_hub_file, parse_hub_file
from features.backbones.loading.model_folders import CONFIG_FILE
from features.backbones.options import BackboneOptions
from features.errors import WeightsError
from features.json_files import read_object

if TYPE_CHECKING:
    from torch import Tensor, nn

    Network = TypeVar("Network", bound=nn.Module)

COPY = "model.safetensors"  # file of a bundle


class FileOptions(BackboneOptions):
    """Options of a backbone with such weights."""

    weights: str = Field(description="local file, or `random`")
    seed: int = Field(0, ge=0, description="for `random`: seed of the weights")


class SizedFileOptions(FileOptions):
    """Options of a network that also has a tiny, untrained variant."""

    size: Literal["tiny", "base"] = Field(
        "base", description="the size of the network; the published weights are `base`"
    )


def weights_digest(options: FileOptions, network: dict[str, Any], where: str) -> str:
    """Return the SHA-256 of the file, or of the description of random weights.

    Args:
        options: The options.
        network: What random weights depend on besides their seed.
        where: Where the file can be had, for the message.

    Raises:
        WeightsError: The file does not exist.
    """
    if options.weights == found.RANDOM:
        return text_sha256({"random": options.seed, **network})
    return file_sha256(_find(options, where))


def build_network(
    options: FileOptions,
    build: Callable[[], Network],
    *,
    part: str | None,
    ignore: Sequence[str],
    where: str,
    rename: Callable[[dict[str, Tensor]], dict[str, Tensor]] | None = None,
    expected: Mapping[str, Mapping[str, Any]] | None = None,
) -> Network:
    """Build a network with seeded weights, and load the file unless the weights are random.

    Args:
        options: The options.
        build: Returns the network.
        part: Key of the published checkpoint that holds the tensors; None: it is the state dict itself.
        ignore: Names, or beginnings of names, of tensors that the network does not have.
        where: Where the file can be had, for the message.
        rename: Gives the tensors of a file the names of the network; must leave the network's own names as they are.
        expected: Key of the checkpoint's settings -> the values that they must have, if the checkpoint states them.

    Raises:
        WeightsError: The file does not exist, or does not fit the architecture.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        module = build()
    if options.weights != found.RANDOM:
        state = found.read_state(_find(options, where), part=part, expected=expected)
        state = state if rename is None else rename(state)
        try:
            load_strictly(module, state, f"{options.title}: {options.weights}", ignore=tuple(ignore))
        except WeightsError as error:
            raise WeightsError(f"{error}; is this the published file? {where[:1].upper()}{where[1:]}") from None
    module.eval()
    return module


def check_config(options: FileOptions, expected: Mapping[str, Any], where: str) -> None:
    """Check the settings in the `config.json` that is published in the same folder; local files may be without it.

    Args:
        options: The options.
        expected: As for `weights.check_settings`.
        where: Where the file can be had, for the message.

    Raises:
        WeightsError: The hub has no such file, it is not a JSON object, or the settings are others.
    """
    if options.weights == found.RANDOM:
        return
    if options.weights.startswith(HUB):
        wanted = parse_hub_file(options.title, options.weights).beside(CONFIG_FILE)
        path = find_hub_file(options.title, wanted, _ways(options, where))
    else:
        path = Path(options.weights).expanduser().with_name(CONFIG_FILE)
    if path.is_file():
        found.check_settings(path, read_object(path, error=WeightsError), expected)


def save_copy(module: nn.Module, folder: Path) -> Bundle:
    """Save a network's weights as safetensors."""
    from safetensors.torch import save_file

    save_file(module.state_dict(), folder / COPY)
    return Bundle({"weights": COPY})


def _find(options: FileOptions, where: str) -> Path:
    """Return the path of the weights."""
    return found.find_file(options.title, options.weights, _ways(options, where))


def _ways(options: FileOptions, where: str) -> str:
    """Return what a user can do if the file is unavailable."""
    return f"{found.ways_out(options.title, 'file')}; {where}"
