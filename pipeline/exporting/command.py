"""`audioheads export`: a trained model as a folder that others can use; written whole and checked, or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from features.errors import RunError, UserError
from features.system.permissions import apply_umask
from pipeline.console import Console
from pipeline.exporting.verification import find_test_clips
from pipeline.predicting.command import Choice
from pipeline.predicting.listing import evaluate
from pipeline.predicting.locate import FoundModel, choose, find_model
from pipeline.predicting.predictor import Predictor

Format = Literal["audioheads", "onnx", "transformers"]


def run_export(
    model: Path,
    target: Path,
    choice: Choice,
    *,
    format: Format = "audioheads",
    with_backbone: bool = True,
    clips: Sequence[Path] = (),
    licence: str | None = None,
    overwrite: bool = False,
    device: str = "cpu",
    console: Console,
) -> None:
    """Write a trained model as a folder.

    Args:
        model: See `found.find_model`.
        target: The folder; must not be there, or be empty.
        choice: Which fits.
        format: `audioheads`, `onnx` or `transformers`.
        with_backbone: Copy the backbone's weights, too.
        clips: What the export is compared with the original on; empty: clips of the run.
        licence: Of the export, for its card.
        overwrite: Replace what an earlier export left there.
        device: Where the original runs; `auto`, or a torch device.
        console: Where the outcome is printed.

    Raises:
        UserError: The model cannot be exported like that; the message says why.
        RunError: The export differs from the original, or cannot be written.
    """
    check_target(target, overwrite)
    found = find_model(model)
    if format == "transformers":
        found = _one_fit(found, choice)
    found, which = choose(found, choice.fold, choice.seed, choice.ensemble)
    evaluation = evaluate(found)
    precision = None if format == "audioheads" else "fp32"
    predictor = Predictor(found, device=device, trusted=choice.trusted, weights=choice.weights, precision=precision)
    console.note(f"export: {found.title}, {which}{', untrained weights' if found.untrained else ''}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".export-", dir=target.parent) as scratch:
            work = Path(scratch) / "export"
            work.mkdir()
            longest_s = predictor.spec.max_duration_s
            known = find_test_clips(found, clips, Path(scratch), predictor.spec.sample_rate, longest_s)
            if format == "audioheads":
                from pipeline.exporting.audioheads_format import write_folder

                how = {"with_backbone": with_backbone, "licence": licence}
                check = write_folder(predictor, work, known, evaluation, **how)  # type: ignore[arg-type]
            elif format == "onnx":
                from pipeline.exporting.onnx_format import write_onnx

                check = write_onnx(predictor, work, known, evaluation, licence=licence, note=console.note)
            else:
                from pipeline.exporting.transformers_format import write_transformers

                check = write_transformers(predictor, work, known, evaluation, licence=licence)
            for path in work.rglob("*"):
                if path.is_file():
                    apply_umask(path)
            if target.exists():
                shutil.rmtree(target)
            work.rename(target)
    except OSError as error:
        raise RunError(f"cannot write {target} ({error.strerror or error})") from error
    console.line(f"export {found.title} → {target}: {check}")


def check_target(target: Path, overwrite: bool) -> None:
    """Refuse a folder that holds something else.

    Raises:
        UserError: It does.
    """
    if not target.exists():
        return
    if not target.is_dir():
        raise UserError(f"{target}: is a file; name a folder")
    if not any(target.iterdir()):
        return
    is_export = (target / "config.json").is_file() and (target / "example.py").is_file()
    if not is_export:
        raise UserError(f"{target}: is not empty, and no earlier export; name another folder")
    if not overwrite:
        raise UserError(f"{target}: holds an export; --overwrite replaces it")


def _one_fit(model: FoundModel, choice: Choice) -> FoundModel:
    """The fit that stands for a model where only one can: by the user's choice, else the best on validation."""
    if choice.ensemble is not None:
        raise UserError(f"--ensemble {choice.ensemble}: a model of transformers is one network; choose with --fold")
    losses = {
        (str(fit["fold"]), int(fit["seed"])): fit.get("valid_loss")
        for fit in model.about.get("chosen", [])
        if fit.get("draw", 0) == 0
    }
    kept = [fit for fit in model.fits if choice.seed in (None, fit.seed) and choice.fold in (None, fit.fold)]
    kept.sort(key=lambda fit: (losses.get((fit.fold, fit.seed)) is None, losses.get((fit.fold, fit.seed)) or 0.0))
    return replace(model, fits=tuple(kept[:1])) if kept else model
