"""Whether the weights that an entry names are those of its preset, and not of another variant."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from features.backbones.loading.model_folders import CONFIG_FILE, WEIGHT_FILES
from features.backbones.loading.weights import RANDOM
from features.backbones.presets.record import Preset
from features.backbones.table import family_of, get_family, get_record, presets
from features.errors import WeightsError

if TYPE_CHECKING:
    from features.backbones.options import BackboneOptions
    from features.spec import BackboneSpec


def check_variant(options: BackboneOptions, spec: BackboneSpec) -> None:
    """Refuse weights of another variant in the entry of a preset, so that no result carries the wrong name.

    Weights are recognised by their name: a copy keeps the name of the published file or repository. The configuration
    of a model folder also shows its architecture.

    Args:
        options: The entry.
        spec: Result of `describe`.

    Raises:
        WeightsError: The weights are those of another preset, or of another architecture.
    """
    record = get_record(options.name) if options.name in presets() else None
    source = str(getattr(options, "weights", ""))
    if record is None or record.weights is None or source in (RANDOM, record.weights, record.entry["weights"]):
        return
    other = None if _is_named(source, options.name) else _preset_of(source)
    if other is not None:
        raise WeightsError(
            f"{options.title}: {source} has the name of the weights of {other}; set `name: {other}`, or `weights` to "
            f"those of {options.name} ({record.weights})"
        )
    if get_family(family_of(options.name)).weights_from == "hub":
        _check_architecture(options, spec, record, source)


def _preset_of(source: str) -> str | None:
    """Return the preset whose weights have the name of these; None if there is none, or several."""
    found = [name for name in presets() if _is_named(source, name)]
    return found[0] if len(found) == 1 else None


def _is_named(source: str, preset: str) -> bool:
    """Return whether weights have the name of the file or repository of a preset."""
    record, family = get_record(preset), get_family(family_of(preset))
    if record is None or record.weights is None:
        return False
    files = () if family.weights_from == "hub" else record.files
    names = {Path(record.weights).name, *files} - {*WEIGHT_FILES, CONFIG_FILE}  # many models have files of these names
    return Path(source.partition("@")[0]).name in names


def _check_architecture(options: BackboneOptions, spec: BackboneSpec, record: Preset, source: str) -> None:
    """Raise `WeightsError` if the architecture of a model folder is not the one in the record."""
    found, expected = str(spec.settings.get("model_type")), getattr(options, "model_type", None)
    same = expected is None or found.startswith(expected)  # a part of a model has a longer name: `clap_audio_model`
    shape = (record.layers, record.dim)
    if None not in shape and getattr(options, "embedding", "frames") == "frames":  # the record is about frames
        same = same and (len(spec.layers), spec.dim) == shape
    if not same:
        raise WeightsError(
            f"{options.title}: {source} is a {found} model of {len(spec.layers)} layers with {spec.dim} values, but "
            f"{options.name} is {expected or 'one'} of {record.layers} with {record.dim}; set `weights` to those of "
            f"{options.name}, or `name: {spec.family}` for other models"
        )
