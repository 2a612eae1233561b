"""Sizes of trained models on disk."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

from features import backbones
from features.errors import UserError
from pipeline.exporting.audioheads_format import BACKBONE_FOLDER
from pipeline.predicting.predictor import Predictor


def bytes_of(files: Iterable[Path]) -> int:
    """Return the total size of some files in bytes."""
    return sum(file.stat().st_size for file in files)


def fits_bytes(predictor: Predictor) -> int:
    """Return the bytes of the files of the chosen heads or networks."""
    return bytes_of(fit.path for fit in predictor.model.fits)


def backbone_bytes(predictor: Predictor) -> int | None:
    """Return the bytes of a frozen backbone's files in an exported folder.

    This does not depend on the form in which its weights were published. It is 0 for a backbone without files, and
    None for one that cannot be copied into a folder.
    """
    if predictor.model.fits[0].kind == "network":
        return 0
    exported = predictor.model.exported
    if exported is not None and (exported / BACKBONE_FOLDER).is_dir():
        return folder_bytes(exported / BACKBONE_FOLDER)
    with tempfile.TemporaryDirectory(prefix="audioheads-") as scratch:
        folder = Path(scratch) / BACKBONE_FOLDER
        try:
            backbones.bundle(predictor.fitted.entry, predictor.spec, folder)
        except UserError:
            return None
        return folder_bytes(folder)


def folder_bytes(folder: Path) -> int:
    """Return the bytes of all files in a folder; 0 if it does not exist."""
    return bytes_of(file for file in folder.rglob("*") if file.is_file())
