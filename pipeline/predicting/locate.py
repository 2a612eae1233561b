"""Resolve a MODEL argument (model of a run, weights file or exported folder) and choose its fits."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from safetensors import SafetensorError, safe_open

from features.errors import UserError, WeightsError
from heads.splits.fold_names import natural_order
from heads.training.file_format import FORMAT as HEAD_METADATA
from pipeline.config.config import load_config
from pipeline.config.errors import closest
from pipeline.config.mistaken_files import CONFIG_SUFFIXES
from pipeline.finetune.file_format import METADATA as NETWORK_METADATA
from pipeline.results.run_folder import FIT_FILE

MODELS_FOLDER = "models"
EXPORT_FORMAT = "audioheads-model"
EXPORT_VERSION = 1
EXPORT_FILE = "config.json"
ONNX_FORMAT = "audioheads-onnx"
Ensemble = Literal["folds", "all"]


@dataclass(frozen=True)
class FitFile:
    """One trained fit on disk.

    Attributes:
        path: A safetensors file.
        kind: `head` on a frozen backbone, or `network` trained end to end.
        about: Metadata of the file.
    """

    path: Path
    kind: Literal["head", "network"]
    about: Mapping[str, Any]

    @property
    def fold(self) -> str:
        """Test fold of the fit."""
        return str(self._trained.get("fold", ""))

    @property
    def seed(self) -> int:
        """Training seed."""
        return int(self._trained.get("seed", 0))

    @property
    def draw(self) -> int:
        """Number of the draw of training clips, if a protocol draws several times."""
        return int(self._trained.get("draw", 0))

    @property
    def stage1(self) -> Mapping[str, Any]:
        """Stage 1 settings (`pipeline.stages.fit_metadata.stage1_notes`); empty if the file has none."""
        return self._trained.get("stage1", {})

    @property
    def _trained(self) -> Mapping[str, Any]:
        return self.about["extra"] if self.kind == "head" else self.about


@dataclass(frozen=True)
class FoundModel:
    """A model and its fits.

    Attributes:
        path: The path it was found by.
        fits: The fits used together; their outputs are averaged.
        about: Content of `fit.json` (run) or `config.json` (exported folder), or empty.
        run_dir: The run folder, if the model belongs to a run.
        exported: The exported folder, if it is one.
    """

    path: Path
    fits: tuple[FitFile, ...]
    about: Mapping[str, Any] = field(default_factory=dict)
    run_dir: Path | None = None
    exported: Path | None = None

    @property
    def untrained(self) -> bool:
        """Whether the frozen backbone has random weights."""
        first = self.fits[0]
        return first.kind == "head" and first.about["backbone"].get("weights") == "random"

    @property
    def title(self) -> str:
        """Model and head, for messages."""
        first = self.fits[0].about
        if self.exported is not None:
            return str(self.about.get("title", self.path.name))
        if self.fits[0].kind == "network":
            return str(first.get("model", self.path.stem))
        model = self.about.get("model") or first["backbone"].get("name", "")
        return f"{model} {self.about.get('head') or first['head']}"


def find_model(path: Path) -> FoundModel:
    """Find the model at a path, with all its fits.

    Args:
        path: `runs/<name>/models/<model>/<head>` (or without `models`), a `.safetensors` file, an exported
            folder, or a run folder with a single model.

    Raises:
        UserError: There is no usable model; the message states what was found.
    """
    if path.suffix.lower() in CONFIG_SUFFIXES and path.is_file():
        raise UserError(f"{path}: is a config, not a trained model; {_models_of_config(path)}")
    if path.is_file():
        found = FoundModel(path, (read_fit_file(path),))
        folder = path.parent
        return replace(found, run_dir=_run_of(folder), about=_json(folder / FIT_FILE) if _run_of(folder) else {})
    for folder in (path, path.parent.parent / MODELS_FOLDER / path.parent.name / path.name):
        if (folder / FIT_FILE).is_file():
            return FoundModel(path, _fits_in(folder), _json(folder / FIT_FILE), run_dir=_run_of(folder))
    about = _json(path / EXPORT_FILE)
    if about.get("format") == EXPORT_FORMAT:
        return _exported(path, about)
    if about.get("format") == ONNX_FORMAT:
        raise UserError(f"{path}: contains ONNX graphs; run its example.py, or export with --format audioheads")
    if about.get("architectures"):
        raise UserError(f"{path}: a transformers model; use pipeline('audio-classification', model={path})")
    inside = models_of(path)
    if len(inside) == 1:
        return find_model(inside[0])
    if inside:
        raise UserError(f"{path}: contains {len(inside)} models; give one of\n  " + "\n  ".join(map(str, inside)))
    raise UserError(_nothing(path))


def models_of(run_dir: Path) -> list[Path]:
    """Return the folders of a run's trained models, sorted."""
    return sorted(file.parent for file in (run_dir / MODELS_FOLDER).glob(f"*/*/{FIT_FILE}"))


def read_fit_file(path: Path) -> FitFile:
    """Read the metadata of a safetensors file, without its tensors.

    Raises:
        WeightsError: It is not a safetensors file, or was not written by this program.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path}: not a readable safetensors file ({error})") from error
    kinds: list[tuple[str, Literal["head", "network"]]] = [(HEAD_METADATA, "head"), (NETWORK_METADATA, "network")]
    for key, kind in kinds:
        if key in metadata:
            return FitFile(path, kind, json.loads(metadata[key]))
    raise WeightsError(f"{path}: not a head or model written by this program")


def choose(
    model: FoundModel, fold: str | None = None, seed: int | None = None, ensemble: Ensemble | None = None
) -> tuple[FoundModel, str]:
    """Choose the fits of a model to use, and describe them in one line.

    Args:
        model: The model with all its fits.
        fold: Use only the fit tested on this fold; None: average all folds.
        seed: Seed of the fits; None: the first.
        ensemble: `folds` (default): all folds of one seed; `all`: all folds and seeds.

    Raises:
        UserError: The fold or seed does not exist, or the options contradict each other.
    """
    if fold is not None and ensemble is not None:
        raise UserError(f"--fold {fold} and --ensemble {ensemble} contradict each other; give one of them")
    if seed is not None and ensemble == "all":
        raise UserError(f"--seed {seed} and --ensemble all contradict each other; give one of them")
    fits = model.fits
    folds, seeds = natural_order({fit.fold for fit in fits}), sorted({fit.seed for fit in fits})
    if fold is not None and fold not in [str(name) for name in folds]:
        raise UserError(f"--fold {fold}: {model.title} has no such fold, {closest(fold, map(str, folds))}")
    if seed is not None and seed not in seeds:
        raise UserError(f"--seed {seed}: {model.title} has no such seed, known: {', '.join(map(str, seeds))}")
    wanted = seeds if ensemble == "all" else [seeds[0] if seed is None else seed]
    draw = min(fit.draw for fit in fits)
    kept = [fit for fit in fits if fit.seed in wanted and fit.draw == draw and (fold is None or fit.fold == fold)]
    kept.sort(key=lambda fit: ([str(name) for name in folds].index(fit.fold), fit.seed))
    return replace(model, fits=tuple(kept)), _which(kept, wanted)


def _which(fits: Sequence[FitFile], seeds: Sequence[int]) -> str:
    """Describe the chosen fits."""
    named = f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {', '.join(map(str, seeds))}"
    folds = list(dict.fromkeys(fit.fold for fit in fits))
    if len(folds) == 1:
        return f"fold {folds[0]}, {named}" if folds[0] else named
    return f"the mean of {len(folds)} folds ({', '.join(folds)}), {named}; --fold K uses one"


def _exported(path: Path, about: Mapping[str, Any]) -> FoundModel:
    if about.get("format_version") != EXPORT_VERSION:
        raise WeightsError(
            f"{path}: export format {about.get('format_version')}, this program reads {EXPORT_VERSION}; export it again"
        )
    files = [path / member["file"] for member in about["members"]]
    return FoundModel(path, tuple(map(read_fit_file, files)), about, exported=path)


def _fits_in(folder: Path) -> tuple[FitFile, ...]:
    fits = tuple(read_fit_file(path) for path in sorted(folder.glob("fold-*-seed-*.safetensors")))
    if not fits:
        raise UserError(f"{folder}: contains no trained weights; train the model again")
    return fits


def _run_of(folder: Path) -> Path | None:
    """Return the run folder that contains a model's folder, or None."""
    is_runs = (folder / FIT_FILE).is_file() and folder.parent.parent.name == MODELS_FOLDER
    return folder.parent.parent.parent if is_runs else None


def _models_of_config(path: Path) -> str:
    """Return which models a config has, for the message that a model is expected."""
    try:
        run_dir = load_config(path).run_dir
    except UserError:
        return "see `audioheads models ls`"
    models = models_of(run_dir)
    if not models:
        return f"none of its models is trained yet; first `audioheads run {path}`, then see `audioheads models ls`"
    return "its models are\n  " + "\n  ".join(map(str, models))


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _nothing(path: Path) -> str:
    """Explain why there is no model at a path, with a suggestion."""
    parents = [parent for parent in path.parents if models_of(parent)]
    known = [str(model) for model in models_of(parents[0])] if parents else []
    what = "no such model" if not path.exists() else "not a model of a run, a weights file or an exported folder"
    return f"{path}: {what}, {closest(path, known)}" if known else f"{path}: {what}; see `audioheads models ls`"
