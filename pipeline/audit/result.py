"""Result of an audit."""

from __future__ import annotations

from dataclasses import dataclass

from features.manifest import Manifest
from features.store.content_keys import ClipContent
from pipeline.audit.findings import Finding
from pipeline.audit.leaks import SameAudio, SplitSize
from pipeline.audit.near_duplicates import NearDuplicates


@dataclass(frozen=True)
class Audit:
    """Everything that an audit found.

    Attributes:
        manifest: The clips.
        protocol: The resolved protocol.
        strict: Whether `--strict` was given.
        findings: Errors first, then warnings, then notes.
        sizes: Size of every split; empty if the protocol cannot divide the corpus.
        contents: File content of every manifest row.
        failures: id -> reason, for clips that cannot be read.
        identical: Clips with identical bytes under different ids.
        near: Near-duplicate clips.
    """

    manifest: Manifest
    protocol: str
    strict: bool
    findings: tuple[Finding, ...]
    sizes: tuple[SplitSize, ...]
    contents: tuple[ClipContent, ...]
    failures: dict[str, str]
    identical: tuple[SameAudio, ...]
    near: NearDuplicates

    def count(self, severity: str) -> int:
        """Return the number of findings with this severity."""
        return sum(found.severity == severity for found in self.findings)
