"""The visible table of backbones and presets; each family is one module, imported when first needed."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from features.errors import ConfigError, UserError

if TYPE_CHECKING:
    from pathlib import Path

    from features.backbones.base import Backbone, BackboneOptions, Bundle
    from features.spec import BackboneSpec

# family -> module with `Options`, `describe(options) -> BackboneSpec` and `load(options, spec, device, precision)`
BACKBONES = {
    "mfcc": "features.backbones.mfcc",
    "wav2vec2": "features.backbones.wav2vec2",
    "vggish": "features.backbones.vggish",
    "litert": "features.backbones.litert",
    "logmel": "features.backbones.logmel",
    "waveform": "features.backbones.waveform",
    "transformers": "features.backbones.transformers",
    "onnx": "features.backbones.onnx",
    "hear": "features.backbones.hear",
    "python": "features.backbones.python",
}

# families that compute in fp32 whatever precision is asked for
FP32_ONLY = ("mfcc", "litert", "logmel", "waveform", "onnx", "hear", "python")

# families that run other people's code -> the option that names it
RUNS_CODE = {"hear": "module", "python": "callable"}

_WHISPER_BASE = {"layers": 6, "attention_heads": 8, "ffn_dim": 2048}

# preset -> the family and the options it stands for; a config's own options win.
# `size`, `architecture` and `random_normalize` are the published configuration's, for untrained weights.
PRESETS: dict[str, dict[str, Any]] = {
    "wav2vec2-nano": {"family": "wav2vec2", "weights": "bundled:wav2vec2-nano", "size": "nano"},  # recipes/nano
    "wav2vec2-base": {"family": "wav2vec2", "weights": "facebook/wav2vec2-base", "size": "base"},
    "wav2vec2-base-960h": {"family": "wav2vec2", "weights": "facebook/wav2vec2-base-960h", "size": "base"},
    "wav2vec2-large": {"family": "wav2vec2", "weights": "facebook/wav2vec2-large", "size": "large"},
    "wav2vec2-large-lv60": {"family": "wav2vec2", "weights": "facebook/wav2vec2-large-lv60", "size": "large-stable"},
    "wav2vec2-xls-r-300m": {"family": "wav2vec2", "weights": "facebook/wav2vec2-xls-r-300m", "size": "large-stable"},
    "mms-300m": {"family": "wav2vec2", "weights": "facebook/mms-300m", "size": "large-stable"},
    "hubert-base": {
        "family": "wav2vec2",
        "model_type": "hubert",
        "weights": "facebook/hubert-base-ls960",
        "size": "base",
    },
    "hubert-large": {
        "family": "wav2vec2",
        "model_type": "hubert",
        "weights": "facebook/hubert-large-ll60k",
        "size": "large-stable",
    },
    "wavlm-base": {
        "family": "wav2vec2",
        "model_type": "wavlm",
        "weights": "microsoft/wavlm-base",
        "size": "base",
        "random_normalize": False,
    },
    "wavlm-base-plus": {
        "family": "wav2vec2",
        "model_type": "wavlm",
        "weights": "microsoft/wavlm-base-plus",
        "size": "base",
        "random_normalize": False,
    },
    "wavlm-large": {
        "family": "wav2vec2",
        "model_type": "wavlm",
        "weights": "microsoft/wavlm-large",
        "size": "large-stable",
        "architecture": {"conv_bias": False},
    },
    "data2vec-audio-base": {
        "family": "wav2vec2",
        "model_type": "data2vec-audio",
        "weights": "facebook/data2vec-audio-base",
        "size": "base",
    },
    "unispeech-sat-base": {
        "family": "wav2vec2",
        "model_type": "unispeech-sat",
        "weights": "microsoft/unispeech-sat-base",
        "size": "base",
    },
    "ast": {
        "family": "transformers",
        "weights": "MIT/ast-finetuned-audioset-10-10-0.4593",
        "model_type": "audio-spectrogram-transformer",
    },
    "clap": {
        "family": "transformers",
        "weights": "laion/clap-htsat-unfused",
        "model_type": "clap",
        "extractor": {"sampling_rate": 48000, "frequency_min": 50, "truncation": "rand_trunc"},
    },
    "whisper-base": {
        "family": "transformers",
        "weights": "openai/whisper-base",
        "model_type": "whisper",
        "architecture": {
            "d_model": 512,
            **{f"{part}_{key}": n for part in ("encoder", "decoder") for key, n in _WHISPER_BASE.items()},
        },
    },
    "w2v-bert-2.0": {"family": "transformers", "weights": "facebook/w2v-bert-2.0", "model_type": "wav2vec2-bert"},
    "yamnet": {
        "family": "litert",
        "weights": "weights/yamnet.tflite",
        "tensor": "layer28/reduce_mean",
        "sample_rate_hz": 16000,
        "window_samples": 15600,
        "hop_samples": 7680,
    },
}


def family_of(name: str) -> str:
    """The line of `BACKBONES` that a backbone's or preset's name leads to.

    Raises:
        ConfigError: No such name; the message lists the valid ones.
    """
    if name in PRESETS:
        return str(PRESETS[name]["family"])
    if name in BACKBONES:
        return name
    close = difflib.get_close_matches(name, [*BACKBONES, *PRESETS], n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    raise ConfigError(f"unknown backbone {name!r}: {hint}known are {', '.join([*BACKBONES, *PRESETS])}")


def options_class(name: str) -> type[BackboneOptions]:
    """The pydantic class that validates a config's entry of this name."""
    return import_module(BACKBONES[family_of(name)]).Options


def parse_options(options: Mapping[str, Any] | BackboneOptions) -> BackboneOptions:
    """Validated options, a preset's values filled in where the entry is silent."""
    if not isinstance(options, Mapping | BaseModel):
        raise ConfigError(f"a backbone's options should be a mapping such as {{'name': 'mfcc'}}, got {options!r}")
    given = dict(options) if isinstance(options, Mapping) else options.model_dump(exclude_unset=True)
    name = given.get("name")
    if not isinstance(name, str):
        raise ConfigError(f"a backbone needs a name, got {name!r}: known are {', '.join([*BACKBONES, *PRESETS])}")
    preset = {key: value for key, value in PRESETS.get(name, {}).items() if key != "family"}
    model = options_class(name)
    try:
        return model.model_validate({**preset, **given})
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        message = first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            close = difflib.get_close_matches(key, model.model_fields, n=1)
            message = f"unknown key, did you mean {close[0]!r}?" if close else "unknown key"
        elif first["type"] == "missing":
            message = "is needed"
        raise ConfigError(f"backbone {name!r}: {key}: {message}") from None


def check_trusted(options: Mapping[str, Any], trusted: Sequence[str], source: str) -> None:
    """Refuse an entry that came with a file and runs code that nobody here has named.

    Args:
        options: An entry of `features.backbones`.
        trusted: Import paths of code that may run.
        source: The file, for the message.

    Raises:
        UserError: It would run other code; the message names it.
    """
    name = str(options.get("name"))
    key = RUNS_CODE.get(family_of(name))
    code = None if key is None else str(options.get(key))
    if code is not None and code not in trusted:
        arguments = options.get("arguments") or {}
        call = f"{code} with {arguments!r}" if arguments else code
        raise UserError(f"{source}: its backbone runs the code of {call}; if you trust that, name it: --trust {code}")


def describe(options: Mapping[str, Any] | BackboneOptions) -> BackboneSpec:
    """What the backbone computes, with its weights found and hashed but not loaded.

    Raises:
        WeightsError: The weights cannot be had; the message names the backbone and the ways out.
    """
    parsed = parse_options(options)
    return import_module(BACKBONES[family_of(parsed.name)]).describe(parsed)


def load(
    options: Mapping[str, Any] | BackboneOptions,
    device: str = "cpu",
    precision: str = "fp32",
    spec: BackboneSpec | None = None,
) -> Backbone:
    """Load a backbone, ready to embed.

    Args:
        options: An entry of `features.backbones`, such as `{"name": "wav2vec2", "weights": "path"}`.
        device: A torch device.
        precision: `fp32`, `bf16` or `fp16` for the matrix products.
        spec: What `describe` gave, to spare finding and hashing the weights again.

    Raises:
        ConfigError: Unknown name, option, device or precision.
        WeightsError: The weights cannot be had or do not fit.
    """
    from features.backbones.base import check_device, check_precision

    parsed = parse_options(options)
    module = import_module(BACKBONES[family_of(parsed.name)])
    check_device(device)
    check_precision(precision)
    return module.load(parsed, spec or module.describe(parsed), device=device, precision=precision)


def bundle(options: Mapping[str, Any] | BackboneOptions, spec: BackboneSpec, folder: Path) -> Bundle:
    """Copy what a backbone needs into a folder, so that it loads from there alone.

    A family that can says so by a function `bundle(options, spec, folder) -> Bundle`.

    Args:
        options: The entry.
        spec: What `describe` gave.
        folder: Made where there is something to copy; else it is not there.

    Raises:
        UserError: The family has no way to do that.
        WeightsError: The weights cannot be had.
    """
    from features.errors import UserError

    parsed = parse_options(options)
    module = import_module(BACKBONES[family_of(parsed.name)])
    if not hasattr(module, "bundle"):
        why = ", since they are code" if spec.family in RUNS_CODE else ""
        raise UserError(
            f"{parsed.title}: backbones of family {spec.family} cannot be copied into a folder{why}; "
            "--no-backbone leaves it out"
        )
    folder.mkdir(parents=True, exist_ok=True)
    copied: Bundle = module.bundle(parsed, spec, folder)
    if not copied.files:
        folder.rmdir()
    return copied


def blank(options: Mapping[str, Any] | BackboneOptions) -> dict[str, Any]:
    """Options of the same network with random weights, for whoever loads weights of their own into it.

    A family that can says so by a function `blank(options) -> dict`.

    Raises:
        UserError: The family has no way to do that.
    """
    from features.errors import UserError

    parsed = parse_options(options)
    module = import_module(BACKBONES[family_of(parsed.name)])
    if not hasattr(module, "blank"):
        raise UserError(f"{parsed.name}: a network of its architecture cannot be made without its weights")
    return {**parsed.model_dump(mode="json", exclude_unset=True), **module.blank(parsed)}


def extra_of(family: str) -> str | None:
    """The optional dependencies of this program that a family needs: `EXTRA` in its module; None: none."""
    return getattr(import_module(BACKBONES[family]), "EXTRA", None)


def list_backbones() -> list[dict[str, Any]]:
    """Every name a config can use: `name`, `family`, `weights`, `sample_rate_hz`, `summary`."""
    rows = []
    for name in [*BACKBONES, *PRESETS]:
        module = import_module(BACKBONES[family_of(name)])
        options = module.Options.model_construct(**{"name": name, **PRESETS.get(name, {})})
        rows.append({"name": name, "family": family_of(name), **module.summary(options)})
    return rows
