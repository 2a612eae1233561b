"""Recordings of background, in which there is nothing of interest, cut into windows for every model."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from features.audio.containers import file_of
from features.corpus import Corpus, knowing
from features.errors import ConfigError, ManifestError, UserError
from features.manifest import Manifest
from features.records import Records
from features.store.content_keys import ClipContent, readable
from heads.evaluation.decisions.false_alarms import Recordings
from pipeline.config.experiment import Config
from pipeline.config.schema import BACKGROUND, BackgroundPart, BackgroundSection
from pipeline.recordings.clips import NO_LABEL, SLACK, ClipsToScore, Cut, find_clips, read_clips
from pipeline.recordings.division import divide

SECONDS = 3600  # in an hour


@dataclass(frozen=True)
class Background:
    """Windows of recordings without anything of interest.

    Attributes:
        manifest: One row per window, in the order of the recordings. Its name is that of the corpus, since both are
            in the same cache files.
        contents: File content of each window.
        stretches: Name of the recording or of the segment of it that each window is cut from, shape (n,).
        recordings: Digest of the recording of each window, shape (n,); empty if it cannot be read.
        starts_s: Start of each window in its stretch, in seconds, shape (n,).
        ends_s: End of each window in its stretch, in seconds, shape (n,).
        parts: `train`, `valid` or `test` of each window, shape (n,).
        cut: How the recordings are cut.
    """

    manifest: Manifest
    contents: Records[ClipContent]
    stretches: np.ndarray
    recordings: np.ndarray
    starts_s: np.ndarray
    ends_s: np.ndarray
    parts: np.ndarray
    cut: Cut

    def rows(self, *parts: BackgroundPart, failures: Mapping[str, str] | None = None) -> np.ndarray:
        """Return the windows of some parts, ascending, without those that cannot be read or are in `failures`."""
        bad = self.manifest.clips["id"].isin((failures or {}).keys()).to_numpy()
        return np.flatnonzero(np.isin(self.parts, parts) & readable(self.contents) & ~bad)

    def table(self) -> pd.DataFrame:
        """Return `background.csv`: the windows with the part that each is used in."""
        return pd.DataFrame(
            {
                "id": self.manifest.clips["id"],
                "recording": self.stretches,
                "part": self.parts,
                "start_s": self.starts_s,
                "end_s": self.ends_s,
                "path": self.manifest.clips["path"],
            }
        )

    def recordings_of(self, rows: np.ndarray) -> Recordings:
        """Return the recordings of some windows. Windows that are left out do not count as time."""
        numbers = pd.factorize(self.recordings[rows])[0]  # in the order of the windows
        stretches, starts, ends = self.stretches[rows], self.starts_s[rows], self.ends_s[rows]
        follows = np.append(False, (stretches[1:] == stretches[:-1]) & (np.diff(rows) == 1))
        heard_until = np.where(follows, np.append(0.0, ends[:-1]), starts)
        hours = np.bincount(numbers, weights=ends - heard_until) / SECONDS
        return Recordings(numbers, hours, follows)


@dataclass(frozen=True, eq=False)
class CorpusWithBackground(Corpus):
    """A corpus, and the background of its experiment.

    Attributes:
        background: The windows of background.
    """

    background: Background | None = None

    @property
    def embedded(self) -> Corpus:
        """The clips and windows that stage 1 embeds."""
        if self.background is None:
            return self
        kept = [name for name in ("id", "path", "start_s", "duration_s") if name in self.manifest.clips]
        joined = pd.concat([self.manifest.clips[kept], self.background.manifest.clips], ignore_index=True)
        unlabelled = joined.assign(label=NO_LABEL)  # stage 1 reads no labels
        manifest = Manifest(self.manifest.name, self.manifest.root, unlabelled, "single-label")
        contents = Records.concat(ClipContent, [self.contents, self.background.contents])
        return knowing(Corpus(manifest, self.folder, self.rehash, self.save), contents)


def background_of(corpus: Corpus) -> Background | None:
    """Return the background of a corpus from `with_background`; None if it has none."""
    return corpus.background if isinstance(corpus, CorpusWithBackground) else None


def embedded_clips(corpus: Corpus) -> Corpus:
    """Return all that stage 1 embeds: the clips, and the windows of background."""
    return corpus.embedded if isinstance(corpus, CorpusWithBackground) else corpus


def with_background(config: Config, corpus: Corpus) -> Corpus:
    """Add the windows of `background` to a corpus. The files of both are read.

    Raises:
        ConfigError: The labels are numbers, a recording is labelled, too, or all are shorter than a window.
        ManifestError: There are no recordings, or none can be read.
    """
    section, manifest = config.background, corpus.manifest
    if section is None:
        return corpus
    if manifest.task == "regression":
        raise ConfigError(
            f"background: false alarms are of classes, and the labels of {manifest.name} are numbers; remove it"
        )
    if "train" in config.background_in and manifest.task == "single-label":
        if BACKGROUND in manifest.labels:
            raise ConfigError(
                f"background_in: background would join the class {BACKGROUND!r} that {manifest.name} has; rename it "
                "with `dataset.rename`, or use background_in: [valid, test]"
            )
        manifest = replace(manifest, added_labels=(BACKGROUND,))
    cut = _cut(section, corpus)
    clips = read_clips(_listed(section), cut, corpus.folder, rehash=corpus.rehash, save=corpus.save)
    _check(section, clips, cut)
    _check_unlabelled(corpus, clips)
    background = _windows(config, manifest, clips, cut)
    joined = CorpusWithBackground(manifest, corpus.folder, corpus.rehash, corpus.save, background)
    return knowing(joined, corpus.contents)


def _listed(section: BackgroundSection) -> Manifest:
    """Return the recordings, with ids that do not depend on where a single folder is."""
    roots = [str(root.expanduser()) for root in section.root]
    for root in roots:
        if not file_of(root).exists():
            raise ManifestError(f"background.root: {root}: no such file or folder")
    try:
        found = find_clips(roots, io.StringIO())
    except UserError as error:
        raise ManifestError(f"background.root: {error}") from error
    table = found.clips.assign(path=list(map(os.path.abspath, found.clips["path"])))
    if len(roots) == 1 and Path(roots[0]).is_dir():
        table["id"] = [os.path.relpath(clip, roots[0]).replace(os.sep, "/") for clip in table["id"]]
    return Manifest(found.name, found.root, table, found.task)


def _cut(section: BackgroundSection, corpus: Corpus) -> Cut:
    """Return how recordings are cut: by default into windows as long as the median clip, side by side."""
    window_s = section.window_s
    if window_s is None:
        lengths = [content.duration_s for content in corpus.contents if content.frames]
        if not lengths:
            raise ManifestError(f"{corpus.manifest.name}: no clip can be read")
        window_s = float(np.median(lengths))
    hop_s = window_s if section.hop_s is None else section.hop_s
    if hop_s > window_s:
        raise ConfigError(f"background.hop_s: {hop_s:g} leaves gaps between windows of {window_s:g} s; use less")
    return Cut(window_s, hop_s)


def _check(section: BackgroundSection, clips: ClipsToScore, cut: Cut) -> None:
    """Check that there are windows of full length."""
    assert clips.starts_s is not None and clips.ends_s is not None
    where = ", ".join(map(str, section.root))
    failures = [content.failure for content in clips.contents]
    if all(failures):
        raise ManifestError(
            f"background.root: no recording of {where} can be read, first {clips.ids[0]}: {failures[0]}"
        )
    longest = max(end - start for start, end in zip(clips.starts_s, clips.ends_s, strict=True))
    if longest < cut.window_s * (1 - SLACK):
        raise ConfigError(
            f"background: the longest recording of {where} has {longest:.3g} s, less than a window of "
            f"{cut.window_s:.3g} s; give longer recordings, or set background.window_s to at most {longest:.3g}"
        )


def _check_unlabelled(corpus: Corpus, clips: ClipsToScore) -> None:
    """Check that no audio of the background is a labelled clip: the same file, and a time in common."""
    labelled: dict[str, list[tuple[float, float, int]]] = {}
    for row, content in enumerate(corpus.contents):
        if content.key:
            start = corpus.manifest.segment_of(row)[0]
            labelled.setdefault(content.file_key, []).append((start, start + content.duration_s, row))
    for row, content in enumerate(clips.contents):
        start = clips.manifest.segment_of(row)[0]
        for low, high, clip in labelled.get(content.file_key, ()) if content.key else ():
            if start < high and low < start + content.duration_s:
                raise ConfigError(
                    f"background: {clips.manifest.path_of(row)} has the audio of the labelled clip "
                    f"{corpus.manifest.path_of(clip)}; remove one of them, since background must have no class"
                )


def _windows(config: Config, manifest: Manifest, clips: ClipsToScore, cut: Cut) -> Background:
    """Name the windows and divide their recordings."""
    assert clips.starts_s is not None and clips.ends_s is not None
    starts, ends = np.array(clips.starts_s), np.array(clips.ends_s)
    spans = zip(clips.ids, clips.starts_s, clips.ends_s, strict=True)
    ids = [f"{BACKGROUND}:{clip}@{start:.9g}+{end - start:.9g}" for clip, start, end in spans]
    table = clips.manifest.clips.assign(id=ids, label=BACKGROUND)
    recordings = np.array([content.file_key for content in clips.contents], dtype=object)
    windows = Background(
        manifest=Manifest(manifest.name, manifest.root, table, "single-label"),
        contents=clips.contents,
        stretches=np.array(clips.ids, dtype=object),
        recordings=recordings,
        starts_s=starts,
        ends_s=ends,
        parts=np.full(len(ids), "test", dtype=object),
        cut=cut,
    )
    rows = windows.rows("test")
    names = pd.unique(recordings[rows])
    parts = divide(windows.recordings_of(rows).hours, config.background_in, config.split_seed)
    part_of = dict(zip(names, parts, strict=True))
    return replace(windows, parts=np.array([part_of.get(name, "test") for name in recordings], dtype=object))
