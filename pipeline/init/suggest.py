"""Which protocol and which backbones fit some clips, and why."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from features.backbones import BACKBONES, family_of, get_family, preset_options
from features.backbones.family import Candidate
from features.backbones.loading.weights import BUNDLED
from features.errors import ManifestError, UserError
from features.manifest import Manifest
from heads.splits.feasibility import check_protocol
from pipeline.init.look import Audio

FEW_GROUPS = 12  # up to here, testing on each group in turn is affordable
SPEECH = ("fsdd", "speech_commands", "ravdess")
OTHER_SOUNDS = ("esc50", "urbansound8k", "gtzan")


@dataclass(frozen=True)
class ProtocolChoice:
    """A protocol and the reason for it."""

    protocol: str
    why: str


@dataclass(frozen=True)
class Suggestion:
    """A candidate for these clips: `use` it now, or leave it in the config as a comment, and why."""

    candidate: Candidate
    use: bool
    why: str


RATE_HZ = 16_000  # that all pretrained candidates take


def suggest_protocol(manifest: Manifest) -> ProtocolChoice:
    """The first protocol of those that suit these clips which they allow.

    Raises:
        UserError: None does; says why.
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
                ProtocolChoice("leave-one-group-out", f"{held}: each in turn is tested by models that never heard it")
            )
        choices.append(ProtocolChoice("kfold", f"five drawn folds that keep {held} whole"))
        choices.append(
            ProtocolChoice("holdout", f"too few groups for five folds: a fifth is tested, {held} kept whole")
        )
    else:
        choices.append(
            ProtocolChoice("kfold", "no folds, split or groups are known, so five stratified folds are drawn")
        )
        choices.append(ProtocolChoice("holdout", "too few clips for five folds: a fifth of them is tested"))
    reason = ""
    for choice in choices:
        try:
            check_protocol(manifest, choice.protocol)
        except ManifestError as error:
            reason = reason or str(error)
            continue
        return choice
    raise UserError(f"no protocol can divide these clips: {reason}")


def candidates() -> list[Candidate]:
    """What the families of backbones suggest, the cheapest first."""
    found = [candidate for family in BACKBONES for candidate in get_family(family).candidates]
    return sorted(found, key=lambda one: one.gflop_per_s or 0.0)


def suggest_backbones(audio: Audio, kind: str) -> list[Suggestion]:
    """Every candidate, those for this kind of audio first, each with the reason to use it or not."""
    speech = True if kind in SPEECH else False if kind in OTHER_SOUNDS else None
    ordered = sorted(candidates(), key=lambda one: (one.speech is not None, one.speech is not speech))
    return [_judge(candidate, audio, speech) for candidate in ordered]


def _judge(candidate: Candidate, audio: Audio, speech: bool | None) -> Suggestion:
    reasons = [candidate.about]
    use = True
    if candidate.speech is not None:
        if speech is not None and candidate.speech is not speech:
            use = False
            reasons.append("made for other sounds than these")
        if audio.median_s < candidate.window_s / 2:
            use = False
            reasons.append(
                f"sees {candidate.window_s:g} s at a time, most of it padding in clips of {audio.median_s:.2g} s"
            )
        if audio.rate < RATE_HZ:
            reasons.append(f"trained at {RATE_HZ} Hz; these clips have nothing above {audio.rate // 2} Hz")
        elif audio.rate >= 2 * RATE_HZ:
            reasons.append(f"hears up to {RATE_HZ // 2} Hz only")
        if need := _what_is_missing(candidate.name):
            use = False
            reasons.append(need)
    return Suggestion(candidate, use, "; ".join(reasons))


def _what_is_missing(name: str) -> str:
    """What has to be fetched before this backbone runs; empty where its weights are here."""
    weights_from, weights = get_family(family_of(name)).weights_from, str(preset_options(name).get("weights", ""))
    if weights_from == "none" or weights.startswith(BUNDLED):
        return ""
    if weights_from == "file":
        file = Path(weights)
        return "" if file.is_file() else f"needs {file}"
    if weights_from == "hub":
        from huggingface_hub import try_to_load_from_cache

        known = try_to_load_from_cache(weights, "config.json")
        return "" if isinstance(known, str) else "fetches its weights from the model hub"
    return "fetches its weights from the web"
