"""The clips of a dataset together with the state of their audio files."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np

from features.manifest import Manifest
from features.records import Records
from features.store.content_keys import ClipContent, clip_contents, readable
from features.store.table import EmbeddingTable


@dataclass(frozen=True, eq=False)
class Corpus:
    """A manifest and the state of its files, which is read once.

    A command creates one corpus and passes it to every stage. The files are read when `contents` is first used. After
    that, all stages use the same state, even if a file changes; decoding detects such changes.

    Attributes:
        manifest: The clips, N rows.
        folder: The folder of the sidecar file with known digests: `<cache>/<dataset name>`.
        rehash: Read every file, even if its size and modification time are unchanged.
        save: Write new digests to the sidecar file.
    """

    manifest: Manifest
    folder: Path
    rehash: bool = False
    save: bool = True

    @cached_property
    def contents(self) -> Records[ClipContent]:
        """The content key, length and failure of each clip, N records in the manifest's order.

        Raises:
            RunError: The sidecar file cannot be written.
        """
        return clip_contents(self.manifest, self.folder, self.rehash, save=self.save)

    @cached_property
    def unreadable(self) -> dict[str, str]:
        """Clips whose file or segment cannot be read: id -> reason."""
        rows = np.flatnonzero(~readable(self.contents))
        reasons = self.contents.take(rows).texts("failure").to_pylist()
        return dict(zip(self.manifest.clips["id"].iloc[rows].tolist(), reasons, strict=True))

    def failures_in(self, table: EmbeddingTable) -> dict[str, str]:
        """Return the clips whose present audio a cache file records as unusable: id -> reason."""
        recorded = np.flatnonzero(self.manifest.clips["id"].isin(table.failures.keys()))
        failed = {}
        for clip, content in zip(self.manifest.clips["id"].iloc[recorded], self.contents.take(recorded), strict=True):
            key, reason = table.failures[clip]
            if key == content.key and (key or reason == content.failure):
                failed[clip] = reason
        return failed

    def is_in(self, table: EmbeddingTable) -> np.ndarray:
        """Return which clips a cache file contains with their present audio, (N,) bool."""
        known = table.present()
        pairs = zip(self.manifest.clips["id"], self.contents, strict=True)
        return np.fromiter((known.get(clip) == content.key for clip, content in pairs), bool, len(self.manifest))


Kind = TypeVar("Kind", bound=Corpus)


def knowing(corpus: Kind, contents: Records[ClipContent]) -> Kind:
    """Return a corpus whose files were read before; `contents` are those of its clips."""
    corpus.__dict__["contents"] = contents
    return corpus
