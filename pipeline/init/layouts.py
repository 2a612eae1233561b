"""Recognise common layouts of labelled audio that have a reader of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from features.datasets import load_manifest
from features.datasets.layouts import audacity, audiofolder, huggingface, kaldi, raven, webdataset
from features.datasets.layouts.rows import files_below
from features.datasets.listing import AUDIO_SUFFIXES
from features.errors import ManifestError, UserError
from features.manifest import Manifest
from pipeline.init.found import Found

COVERED = 0.8  # fraction of the audio in a folder that a layout must list
ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar")
LOOKED_AT = 50  # text files whose first line is read to find selection tables
TRANSCRIPTS = 0.5  # more distinct labels per clip than this are sentences rather than classes


def recognise_layout(path: Path) -> Found | None:
    """Return the layout of a folder or file; None if it has none of these.

    Raises:
        UserError: The layout is clear, but its labels or files cannot be used.
    """
    if path.is_file():
        known = _kind_of_file(path)
        return None if known is None else _loaded(path, *known)
    files = sorted(files_below(path))
    audio = [file for file in files if file.suffix.lower() in AUDIO_SUFFIXES]
    for kind, what, fits in _KINDS:
        if not fits(path, files, audio):
            continue
        try:
            found = _loaded(path, kind, what)
        except UserError:
            if kind in _PARTIAL:
                continue
            raise
        if kind not in _PARTIAL or _covers(found.manifest, len(audio)):
            return found
    return None


def archives_in(path: Path) -> list[Path]:
    """Return the archives below a folder, which are not read unless they are a WebDataset."""
    return sorted(file for file in files_below(path) if file.suffix.lower() in ARCHIVES)


def _kind_of_file(path: Path) -> tuple[str, str] | None:
    if path.suffix.lower() == ".tar":
        return "webdataset", "an archive of audio with labels (WebDataset)"
    if path.suffix.lower() in (".parquet", ".arrow") and huggingface.data_files(path):
        return "huggingface", "a file of audio in rows (Hugging Face `datasets`)"
    return None


def _loaded(path: Path, kind: str, what: str) -> Found:
    options = {"kind": kind, "root": str(path)}
    try:
        manifest = load_manifest(options)
    except ManifestError as error:
        raise UserError(f"{error}; recognised as {what}") from error
    return Found(options, manifest, what, _notes(kind, manifest))


def _notes(kind: str, manifest: Manifest) -> list[str]:
    if kind == "kaldi" and len(manifest.labels) > max(2, TRANSCRIPTS * len(manifest)):
        return [
            f"{len(manifest.labels)} different labels for {len(manifest)} clips look like transcripts; set `labels` to "
            "the file with a class per utterance"
        ]
    if kind in ("audacity", "raven"):
        return ["each labelled part of a recording is a clip, and the recording is its group"]
    return []


def _covers(manifest: Manifest, n_audio: int) -> bool:
    return manifest.clips["path"].nunique() >= COVERED * n_audio


def _is_kaldi(path: Path, files: Sequence[Path], audio: Sequence[Path]) -> bool:
    return any(file.name == kaldi.LIST for file in files) and bool(kaldi.kaldi_folders(path))


def _is_huggingface(path: Path, files: Sequence[Path], audio: Sequence[Path]) -> bool:
    candidates = [file for file in files if file.suffix.lower() in (".parquet", ".arrow")]
    try:
        return bool(candidates) and not audio and bool(huggingface.data_files(path))
    except ManifestError:
        return False


def _is_webdataset(path: Path, files: Sequence[Path], audio: Sequence[Path]) -> bool:
    archives = [] if audio else webdataset.tar_files(path)
    return any(_has_audio(archive) for archive in archives[:1])


def _has_audio(archive: Path) -> bool:
    try:
        members = webdataset.samples(archive)
    except ManifestError:
        return False
    return any(suffix.endswith(AUDIO_SUFFIXES) for suffixes in members.values() for suffix in suffixes)


def _is_audiofolder(path: Path, files: Sequence[Path], audio: Sequence[Path]) -> bool:
    return bool(audio) and any(file.name in audiofolder.TABLES for file in files)


def _is_raven(path: Path, files: Sequence[Path], audio: Sequence[Path]) -> bool:
    texts = [file for file in files if file.suffix.lower() in (".txt", ".tsv")]
    named = [file for file in texts if ".table." in file.name.lower() or "selections" in file.name.lower()]
    return bool(audio) and any(map(raven.is_table, (named or texts)[:LOOKED_AT]))


def _is_audacity(path: Path, files: Sequence[Path], audio: Sequence[Path]) -> bool:
    texts = {str(file) for file in files if file.suffix == ".txt"}
    labels = [file for one in audio if texts and str(file := one.with_suffix(".txt")) in texts]
    return 2 * len(labels) >= len(audio) > 0 and all(map(_starts_with_label, labels))


def _starts_with_label(path: Path) -> bool:
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        first = next((line for line in file if line.strip()), None)
    try:
        return first is None or bool(audacity.parse_line(first))
    except ValueError:
        return False


Fits = Callable[[Path, Sequence[Path], Sequence[Path]], bool]
# Layouts with a clear sign come first.
_KINDS: tuple[tuple[str, str, Fits], ...] = (
    ("kaldi", "a Kaldi data folder", _is_kaldi),
    ("huggingface", "audio in rows of Parquet or Arrow files (Hugging Face `datasets`)", _is_huggingface),
    ("webdataset", "archives of audio with labels (WebDataset)", _is_webdataset),
    ("audiofolder", "audio files with a metadata table (Hugging Face `audiofolder`)", _is_audiofolder),
    ("raven", "recordings with Raven selection tables", _is_raven),
    ("audacity", "recordings with Audacity labels", _is_audacity),
)
_PARTIAL = ("audiofolder",)  # a table that is something else, or of a few of the files, is no sign
