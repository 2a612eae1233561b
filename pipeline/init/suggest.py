"""Suggest a protocol and backbones for a set of clips, with reasons."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from features.backbones import BACKBONES, get_family, get_record, preset_options
from features.backbones.family import Candidate
from features.backbones.loading.availability import where_weights_are
from features.errors import ManifestError, UserError
from features.manifest import Manifest
from heads.splits.feasibility import check_protocol
from pipeline.init.choosing import leaving_out
from pipeline.init.look import Audio

FEW_GROUPS = 12  # up to this number, leave-one-group-out is affordable
SPEECH = ("fsdd", "speech_commands", "ravdess", "voxceleb1")
OTHER_SOUNDS = ("esc50", "urbansound8k", "gtzan")


@dataclass(frozen=True)
class ProtocolChoice:
    """A protocol, the reason for it, and options of `dataset` without which it cannot divide the clips."""

    protocol: str
    why: str
    needs: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Suggestion:
    """A candidate backbone, whether to `use` it or to list it as a comment, and why."""

    candidate: Candidate
    use: bool
    why: str


def suggest_protocol(manifest: Manifest) -> ProtocolChoice:
    """Return the first suitable protocol that can divide these clips, if necessary without small classes.

    Raises:
        UserError: No protocol can; the message gives the reason.
    """
    groups = manifest.clips["group"].nunique() if "group" in manifest.clips else 0
    choices = []
    if "fold" in manifest.clips:
        choices.append(ProtocolChoice("folds", f"the clips come in {manifest.clips['fold'].nunique()} folds"))
    if "split" in manifest.clips:
        choices.append(ProtocolChoice("split", "the clips come with a split"))
    if groups:
        held = f"{groups} groups (speakers, recordings)"
        if groups <= FEW_GROUPS:
            choices.append(
                ProtocolChoice("leave-one-group-out", f"{held}: each is tested by models trained without it")
            )
        choices.append(ProtocolChoice("kfold", f"five random folds that keep {held} whole"))
        choices.append(
            ProtocolChoice("holdout", f"too few groups for five folds: one fifth is the test set, {held} kept whole")
        )
    else:
        choices.append(
            ProtocolChoice("kfold", "no folds, split or groups are known, so five stratified random folds are used")
        )
        choices.append(ProtocolChoice("holdout", "too few clips for five folds: one fifth is the test set"))
    reason = ""
    for choice in choices:
        try:
            check_protocol(manifest, choice.protocol)
        except ManifestError as error:
            reason = reason or str(error)
            continue
        return replace(choice, why=_instead(manifest, choice, reason))
    for choice in choices:
        if (needs := leaving_out(manifest, choice.protocol)) is not None:
            return replace(choice, needs=needs)
    raise UserError(f"no protocol can divide these clips: {reason}")


def _instead(manifest: Manifest, choice: ProtocolChoice, reason: str) -> str:
    """Return the reason for a protocol, and why the folds or the split of the corpus are not used."""
    given = [name for name in ("fold", "split") if name in manifest.clips]
    if not given or choice.protocol in ("folds", "split"):
        return choice.why
    why = choice.why.replace("no folds, split or groups are known, so", "no groups are known, so")
    return f"the column {given[0]!r} cannot be used ({reason}); {why}"


def candidates() -> list[Candidate]:
    """Return the candidates of all backbone families, the cheapest first."""
    found = [candidate for family in BACKBONES for candidate in get_family(family).candidates]
    return sorted(found, key=lambda one: one.gflop_per_s or 0.0)


def suggest_backbones(audio: Audio, kind: str) -> list[Suggestion]:
    """Return every candidate with the reason to use it or not, those for this kind of audio first."""
    speech = True if kind in SPEECH else False if kind in OTHER_SOUNDS else None
    ordered = sorted(candidates(), key=lambda one: (one.speech is not None, one.speech is not speech))
    return [_judge(candidate, audio, speech) for candidate in ordered]


def _judge(candidate: Candidate, audio: Audio, speech: bool | None) -> Suggestion:
    reasons = [candidate.about]
    use = True
    if candidate.speech is not None:
        if speech is not None and candidate.speech is not speech:
            use = False
            reasons.append("trained for another kind of sound")
        if audio.median_s < candidate.window_s / 2:
            use = False
            reasons.append(
                f"processes {candidate.window_s:g} s windows, mostly padding for clips of {audio.median_s:.2g} s"
            )
        rate = _rate_of(candidate.name)
        if rate and audio.rate < rate:
            reasons.append(f"trained at {rate} Hz; these clips have nothing above {audio.rate // 2} Hz")
        elif rate and audio.rate >= 2 * rate:
            reasons.append(f"uses frequencies up to {rate // 2} Hz only")
        if need := _what_is_missing(candidate.name):
            use = False
            reasons.append(need)
    return Suggestion(candidate, use, "; ".join(reasons))


def _rate_of(name: str) -> int | None:
    """Return the sample rate that a backbone was trained at, in Hz; None if its record does not state it."""
    record = get_record(name)
    return record.input.sample_rate_hz if record is not None and record.input is not None else None


def _what_is_missing(name: str) -> str:
    """Return what must be downloaded before this backbone runs; empty if its weights are available."""
    return {
        "here": "",
        "file": f"needs {preset_options(name).get('weights')}",
        "hub": "downloads its weights from the model hub",
    }.get(where_weights_are(name), "downloads its weights from the web")
