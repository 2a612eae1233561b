"""`audioheads export`: export a trained model as a folder, which is verified before it is put in place."""

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
from pipeline.predicting.command import FitChoice
from pipeline.predicting.listing import evaluate
from pipeline.predicting.locate import FoundModel, choose, find_model

Format = Literal["audioheads", "onnx", "transformers"]


def run_export(
    model: Path,
    target: Path,
    choice: FitChoice,
    *,
    format: Format | None = None,
    int8: bool = False,
    with_backbone: bool = True,
    clips: Sequence[Path] = (),
    licence: str | None = None,
    overwrite: bool = False,
    device: str = "cpu",
    console: Console,
) -> None:
    """Export a trained model as a folder.

    Args:
        model: See `locate.find_model`.
        target: The output folder; must be new or empty unless `overwrite` is set.
        choice: The fits to export.
        format: `audioheads`, `onnx` or `transformers`; None: `audioheads`, or `onnx` with `int8`.
        int8: Also write an 8-bit ONNX graph.
        with_backbone: Also copy the backbone weights.
        clips: Clips for the comparison of export and original; empty: clips of the run.
        licence: Licence of the export, for its model card.
        overwrite: Replace an earlier export.
        device: Device of the original: `auto`, or a torch device.
        console: Prints the outcome.

    Raises:
        UserError: The model cannot be exported in this format; the message gives the reason.
        RunError: The export differs from the original, or cannot be written.
    """
    if int8 and format not in (None, "onnx"):
        raise UserError(f"--int8: quantises ONNX graphs, not the format {format}; use --format onnx")
    format = format or ("onnx" if int8 else "audioheads")
    check_target(target, overwrite)
    found = find_model(model)
    if int8 and found.run_dir is None:
        raise UserError(
            f"--int8: {model} is not in a run, whose test clips show what accuracy is lost; give a model of a run"
        )
    if int8 or format == "transformers":
        found = _one_fit(found, choice, "an int8 graph" if int8 else "a transformers model")
    found, which = choose(found, choice.fold, choice.seed, choice.ensemble)
    from pipeline.exporting.verification import find_test_clips
    from pipeline.predicting.predictor import Predictor

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
            known = find_test_clips(found.run_dir, clips, Path(scratch), predictor.spec.sample_rate, longest_s)
            if format == "audioheads":
                from pipeline.exporting.audioheads_format import write_folder

                how = {"with_backbone": with_backbone, "licence": licence}
                check = write_folder(predictor, work, known, evaluation, **how)  # type: ignore[arg-type]
            elif format == "onnx":
                from pipeline.exporting.onnx_format import write_onnx

                check = write_onnx(predictor, work, known, evaluation, licence=licence, note=console.note, int8=int8)
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
    """Raise if a folder must not be overwritten.

    Raises:
        UserError: It is a file, is not empty, or contains an export and `overwrite` is not set.
    """
    if not target.exists():
        return
    if not target.is_dir():
        raise UserError(f"{target}: is a file; choose a folder")
    if not any(target.iterdir()):
        return
    is_export = (target / "config.json").is_file() and (target / "example.py").is_file()
    if not is_export:
        raise UserError(f"{target}: is not empty and not an earlier export; choose another folder")
    if not overwrite:
        raise UserError(f"{target}: contains an export; use --overwrite to replace it")


def _one_fit(model: FoundModel, choice: FitChoice, what: str) -> FoundModel:
    """Return the single fit to export: the user's choice, or else the best on validation."""
    if choice.ensemble is not None:
        raise UserError(f"--ensemble {choice.ensemble}: {what} is a single network; choose one fit with --fold")
    losses = {
        (str(fit["fold"]), int(fit["seed"])): fit.get("valid_loss")
        for fit in model.about.get("chosen", [])
        if fit.get("draw", 0) == 0
    }
    kept = [fit for fit in model.fits if choice.seed in (None, fit.seed) and choice.fold in (None, fit.fold)]
    kept.sort(key=lambda fit: (losses.get((fit.fold, fit.seed)) is None, losses.get((fit.fold, fit.seed)) or 0.0))
    return replace(model, fits=tuple(kept[:1])) if kept else model
