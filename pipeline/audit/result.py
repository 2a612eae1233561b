"""What an audit found."""

from __future__ import annotations

from dataclasses import dataclass

from features.manifest import Manifest
from features.store.content_keys import ClipContent
from pipeline.audit.findings import Finding
from pipeline.audit.leaks import SameAudio, SplitSize
from pipeline.audit.near_duplicates import NearDuplicates


@dataclass(frozen=True)
class Audit:
    """All that an audit found.

    Attributes:
        manifest: The clips.
        protocol: The resolved protocol.
        strict: Whether `--strict` was given.
        findings: Errors first, then warnings, then notes.
        sizes: Of every split; empty where the protocol cannot divide the corpus.
        contents: Of every manifest row.
        failures: id -> reason of clips that cannot be read.
        identical: Clips of the same bytes under different ids.
        near: Clips that sound alike.
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
        """How many findings are this bad."""
        return sum(found.severity == severity for found in self.findings)
