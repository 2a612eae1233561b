"""`audioheads backbones show NAME`: the facts about a backbone or preset, and the lines for a config."""

from __future__ import annotations

from collections.abc import Iterator

from features.backbones import family_of, get_family, get_record, options_class, preset_options, presets
from features.backbones.presets.record import BUNDLED, InputContract, Preset
from pipeline.backbones.listing import UNKNOWN, availability_of, has_licence, licence_of, permission, trained_on
from pipeline.console import Console


def print_backbone(name: str, console: Console) -> None:
    """Print what is known about a backbone or preset, its options, and the lines that add it to a config.

    Raises:
        ConfigError: The name is unknown; the message lists the valid ones.
    """
    family = family_of(name)
    record = get_record(name)
    facts = {"family": family, "available": availability_of(name)}
    if record is not None:
        facts |= dict(_facts(record, on_hub=_on_hub(family, record)))
    elif own := [preset for preset, of in presets().items() if of == family]:
        facts["presets"] = ", ".join(own)
    console.line(name)
    width = max(map(len, facts))
    for heading, fact in facts.items():
        console.line(f"  {heading:<{width}}  {fact}")
    console.line("")
    console.line("config:")
    console.line("  features:")
    console.line("    backbones:")
    for line in _entry(name):
        console.line(f"      {line}")
    console.line("")
    console.line("options:")
    chosen = preset_options(name)
    for key, field in options_class(name).model_fields.items():
        default = "required" if field.is_required() else f"default {field.get_default(call_default_factory=True)!r}"
        own_value = f"here {chosen[key]!r}" if key in chosen else default
        console.line(f"  {key}: {field.description} ({own_value})")


def _on_hub(family: str, record: Preset) -> bool:
    """Whether the weights of a record are a repository of the model hub."""
    bundled = record.weights is not None and record.weights.startswith(BUNDLED)
    return get_family(family).weights_from == "hub" and not bundled


def _facts(record: Preset, *, on_hub: bool) -> Iterator[tuple[str, str]]:
    """Yield headings and texts; a fact that is not known is shown as such."""
    if record.weights is not None:
        yield "weights", record.weights
        if on_hub:
            unpinned = "not pinned: trust names it" if record.needs_trust else "not pinned: the newest is used"
            yield "revision", record.revision or unpinned
    if record.needs_trust:
        yield "code", "comes with the weights and runs only if it is trusted (trust)"
    if record.files:
        yield "files", ", ".join(record.files)
    if record.page is not None:
        yield "published at", record.page
    if record.input is not None:
        yield from _input(record.input)
    yield "layers", f"{record.layers or UNKNOWN}: {record.layer_order}"
    yield "dimensions", UNKNOWN if record.dim is None else str(record.dim)
    yield "parameters", UNKNOWN if record.parameters is None else f"{record.parameters:,}"
    if has_licence(record):
        yield "licence", licence_of(record)
        yield "commercial use", permission(record)
    if record.trained_on != ():
        yield "pretrained on", trained_on(record.pretrained_on)
        yield "fine-tuned on", trained_on(record.finetuned_on)
    yield "citation", record.citation or UNKNOWN


def _input(contract: InputContract) -> Iterator[tuple[str, str]]:
    rate = contract.sample_rate_hz
    channels = "1 channel (others are averaged)" if contract.channels == 1 else f"{contract.channels} channels"
    yield "input", f"{rate} Hz, {channels}"
    yield (
        "window",
        f"{contract.window_samples} samples, every {contract.hop_samples} ({rate / contract.hop_samples:.4g}/s)",
    )
    shortest = "1 sample" if contract.shortest_s * rate <= 1 else f"{contract.shortest_s:.4g} s"
    longest = "max_duration_s" if contract.longest_s is None else f"{contract.longest_s:g} s"
    yield "lengths", f"{shortest} to {longest}; longer clips are processed in windows"
    yield "normalisation", contract.normalisation
    yield "padding", contract.padding


def _entry(name: str) -> list[str]:
    """Return the lines of a config: the entry, and its untrained control if there can be one."""
    entries = [f"- {{name: {name}}}"]
    fields = options_class(name).model_fields
    required = [
        key for key, field in fields.items() if field.is_required() and key not in ("name", *preset_options(name))
    ]
    record = get_record(name)
    if record is not None and record.needs_trust:  # its architecture is in code that is not here
        entries = [f"- {{name: {name}, trust: {record.weights}@…}}"]
    elif required:
        entries = [f"- {{name: {name}, {', '.join(f'{key}: …' for key in required)}}}"]
    elif "seed" in fields and get_family(family_of(name)).weights_from != "code":
        entries.append(f"- {{name: {name}, weights: random, label: {name}-untrained}}")
    return entries
