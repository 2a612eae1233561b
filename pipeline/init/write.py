"""`audioheads init`: write a commented config for a folder or a manifest."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from features.datasets.listing import base_name
from features.errors import ManifestError, RunError, UserError
from features.manifest import Manifest
from pipeline.console import Console
from pipeline.init.choosing import HINT, proposals, questions
from pipeline.init.dataset_section import alternatives_text, comment, dataset_lines, other_lines
from pipeline.init.found import Found
from pipeline.init.recognise import recognise
from pipeline.results.group_names import groups_in_names
from pipeline.results.refit import held_out
from pipeline.results.table import counted

if TYPE_CHECKING:
    from pipeline.init.cost import Speed
    from pipeline.init.look import Audio
    from pipeline.init.suggest import ProtocolChoice, Suggestion

CLASSES_SHOWN = 12


def run_init(
    path: Path, output: Path | None, *, device: str, force: bool, console: Console, pattern: str | None = None
) -> Path:
    """Inspect labelled audio and write a config for it, with a JSON schema for editors in the same folder.

    Args:
        path: A folder or a manifest file.
        output: The config to write; None: `<name>.yaml` in the working folder.
        device: Device for the cost estimate: `auto`, or a torch device.
        force: Overwrite existing files.
        console: Prints what was found.
        pattern: Reads label, group, fold and split from file names, see `features.datasets.naming`.

    Returns:
        The path of the config.

    Raises:
        UserError: There is nothing to train on, or a file exists and `force` is false.
        RunError: The config cannot be written.
    """
    output = output or Path(f"{_name(path)}.yaml")
    table = output.with_suffix(".csv")
    _refuse_overwriting(output, force)
    found = recognise(path, table, pattern)
    if found.table is not None:
        _refuse_overwriting(table, force)
    if path.is_file() and (name := _name(path)) != path.stem:  # folders of the cache and of the run get the same name
        found.options.setdefault("name", name)
    from pipeline.config.config import load_config
    from pipeline.init.config_file import write_config
    from pipeline.init.cost import device_to_use, measure
    from pipeline.init.look import look
    from pipeline.init.suggest import suggest_backbones, suggest_protocol

    audio = look(found.manifest)
    choice = suggest_protocol(found.manifest)
    found.proposals[:0] = proposals(choice.needs, found.manifest)
    suggestions = suggest_backbones(audio, found.options["kind"])
    speed = measure(device_to_use(device))
    text = config_text(path, output, found, audio, choice, suggestions, speed)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        if found.table is not None:
            found.table.write_csv(table)
            console.line(f"wrote {table}, a manifest of {counted(len(found.manifest), 'clip')}")
    except OSError as error:
        raise RunError(f"cannot write {output} ({error.strerror})") from error
    write_config(output, text)
    load_config(output)
    for question in questions(found.manifest, found.options):
        console.note(f"note: {question}")
    used = ", ".join(one.candidate.name for one in suggestions if one.use)
    console.line(f"{path}: {found.what}; {summary(found.manifest, audio)}")
    for line in (*found.notes, *alternatives_text(found)):
        console.note(line)
    console.line(f"wrote {output}: protocol {choice.protocol}, backbones {used}")
    first = f"check the classes in {output}, then " if found.guess else ""
    console.line(f"next: {first}audioheads datasets audit {output}, then audioheads run {output}")
    return output


def _protocol_of_proposal(found: Found, choice: ProtocolChoice) -> list[str]:
    """Return the protocol that goes with the first proposed pattern, as a comment, if it is another one."""
    from features.datasets.naming import parse_pattern
    from pipeline.init.suggest import suggest_protocol

    pattern = next((one for one in found.proposals if one.key == "pattern"), None)
    if pattern is None:
        return []
    clips = found.manifest.clips
    facts, _ = parse_pattern(pattern.value).read_all(clips["path"])
    groups = [(one or {}).get("group", "") for one in facts]
    try:
        other = suggest_protocol(dataclasses.replace(found.manifest, clips=clips.assign(group=groups)))
    except UserError as error:
        return comment(f"With the pattern above, {error}.")
    if other.protocol == choice.protocol:
        return []
    return [*comment(f"With the pattern above, instead: {other.why}."), f"# protocol: {other.protocol}"]


def _name(path: Path) -> str:
    """Return the config name for a folder or a file."""
    name = base_name(path if path.is_dir() else path.with_suffix(""))
    return re.sub(r"[^\w-]+", "-", name).strip("-") or "experiment"


def summary(manifest: Manifest, audio: Audio) -> str:
    """Summarise the clips in one line."""
    classes = (
        "numeric targets"
        if manifest.task == "regression"
        else counted(len(manifest.labels), "class").replace("classs", "classes")
    )
    kind = " (several per clip)" if manifest.task == "multi-label" else ""
    return f"{counted(len(manifest), 'clip')}, {classes}{kind}, {audio.total_s / 60:.3g} minutes of audio"


def config_text(
    path: Path,
    output: Path,
    found: Found,
    audio: Audio,
    choice: ProtocolChoice,
    suggestions: list[Suggestion],
    speed: Speed,
) -> str:
    """Return the text of the config, including comments."""
    manifest = found.manifest
    lines = [
        *comment(f"{path}: {summary(manifest, audio)}. Written by `audioheads init`; edit as needed."),
        *comment(f"Next: audioheads datasets audit {output}, then audioheads run {output}"),
        "",
        *comment(f"Recognised as {found.what}."),
        *_classes(manifest),
        *comment(_audio_line(manifest, audio)),
        *(line for note in found.notes for line in comment(f"Note: {note}.")),
        *(line for text in questions(manifest, found.options) for line in comment(f"Note: {text}.")),
        *dataset_lines(found),
        *([] if choice.needs else comment(HINT)),
        *other_lines(found),
        "",
        "features:",
        *comment("Clip vector: mean and standard deviation of the frames.", 2),
        "  pooling: [mean, std]",
        *comment(
            f"Times are estimates for embedding all clips once on {speed.device} at its present load, from a short "
            f"measurement ({speed.gflop_per_s:.0f} GFLOP/s); they can be off by a factor of two or three. Training "
            "heads takes extra time.",
            2,
        ),
        "  backbones:",
        *(line for one in suggestions for line in _backbone(one, speed, audio)),
        "",
        "heads:",
        "  - {name: linear}",
        "  - {name: mlp, learning_rate: [1e-3, 3e-4]}  # a list is a grid; validation chooses",
        "",
        *comment(f"{choice.protocol}: {choice.why}."),
        *_group_hint(found),
        f"protocol: {choice.protocol}",
        *_protocol_of_proposal(found, choice),
        *_refit_hint(manifest, choice.protocol),
        "seeds: [0, 1, 2]",
        "",
    ]
    return "\n".join(lines)


def _classes(manifest: Manifest) -> list[str]:
    """Return comment lines with the number of clips per class."""
    if manifest.task == "regression":
        labels = manifest.clips["label"]
        return comment(f"Labels are numbers from {labels.min():g} to {labels.max():g}.")
    counts = manifest.clips["label"].explode().value_counts()
    shown = ", ".join(f"{label} {count}" for label, count in counts.head(CLASSES_SHOWN).items())
    more = (
        f" and {len(counts) - CLASSES_SHOWN} more, the rarest with {counts.min()}"
        if len(counts) > CLASSES_SHOWN
        else ""
    )
    return comment(f"Clips per class: {shown}{more}.")


def _audio_line(manifest: Manifest, audio: Audio) -> str:
    looked = "" if audio.looked_at == len(manifest) else f" (from {audio.looked_at} of them)"
    text = f"Clips last {audio.shortest_s:.2g} to {audio.longest_s:.3g} s, median {audio.median_s:.2g} s{looked}; "
    text += f"{audio.rate} Hz{'' if audio.rates == 1 else f' and {audio.rates - 1} other rate(s)'}."
    if audio.unreadable:
        text += f" {audio.unreadable} cannot be read and will be left out."
    if audio.longest_s > 30:
        text += " Clips longer than 30 s are processed in windows."
    return text


def _backbone(one: Suggestion, speed: Speed, audio: Audio) -> Iterator[str]:
    from pipeline.init.cost import minutes_text

    cost = minutes_text(speed.minutes(one.candidate, audio.total_s))
    yield from comment(f"{one.why}; {cost}.", 4)
    yield f"    {'' if one.use else '# '}- {{name: {one.candidate.name}}}"


def _group_hint(found: Found) -> list[str]:
    manifest = found.manifest
    if "group" in manifest.clips or "fold" in manifest.clips or "split" in manifest.clips:
        return []
    hint = (
        "If several clips come from one speaker or one recording, add a `group` column to the manifest; otherwise "
        "scores are too optimistic (`audioheads datasets index` writes a manifest to start from)."
    )
    if not any(one.key == "pattern" for one in found.proposals):
        hint += "".join(f" {one.text(with_pattern=False)}" for one in groups_in_names(manifest)[:1])
    return comment(hint)


def _refit_hint(manifest: Manifest, protocol: str) -> list[str]:
    """Return comment lines that offer `refit`, if validation takes many clips or some of few."""
    from heads.splits.protocol import make_splits

    try:
        held = held_out(make_splits(manifest, protocol))
    except ManifestError:  # `audioheads run` says what is missing
        return []
    if not held.matters:
        return []
    hint = (
        f"Per fold, {held.valid} of the {held.valid + held.train} clips that are not tested validate. With refit, the "
        "chosen heads are trained again on all of them. Remove the # to use it; training takes longer."
    )
    return [*comment(hint), "# refit: true"]


def _refuse_overwriting(path: Path, force: bool) -> None:
    if path.exists() and not force:
        raise UserError(f"{path}: already exists; choose another with -o FILE, or overwrite it with --force")
