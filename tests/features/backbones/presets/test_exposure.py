"""Whether weights have seen a corpus, by name, by part and by source."""

import pytest

from features.backbones import get_record
from features.backbones.presets.corpora import CORPORA, find_corpus
from features.backbones.presets.exposure import exposure
from features.backbones.presets.record import Preset


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (("esc50",), "ESC-50"),
        (("esc10", "esc50"), "ESC-10"),
        ((None, "speech_commands"), "Speech Commands"),
        (("folder", "FSD50K"), "FSD50K"),
        (("synthetic",), "synthetic sounds of audioheads"),
        (("folder", "my-sounds"), None),
        ((), None),
    ],
)
def test_corpora_are_found_by_subset_kind_and_name(names, found):
    corpus = find_corpus(*names)
    assert (corpus and corpus.name) == found


@pytest.mark.parametrize(
    ("trained_on", "tested", "mark", "reason"),
    [
        (("AudioSet", "ESC-50"), "ESC-50", "saw ESC-50", "Trained on ESC-50."),
        (("ESC-50",), "ESC-10", "saw ESC-50", "Trained on ESC-50, which contains ESC-10."),
        (("ESC-10",), "ESC-50", "saw ESC-10", "Trained on ESC-10, a part of ESC-50."),
        (
            ("FSD50K",),
            "ESC-50",
            "saw its source",
            "Trained on FSD50K, whose clips come from Freesound, as ESC-50's do.",
        ),
        (("AudioSet",), "ESC-50", "none known", "Trained on AudioSet, without a known source in common with ESC-50."),
        (("FSD50K", "UrbanSound8K"), "UrbanSound8K", "saw UrbanSound8K", "Trained on UrbanSound8K."),
        (("LibriSpeech",), None, "unknown", "Trained on LibriSpeech; the origin of the tested clips is not known."),
        (None, "ESC-50", "unknown", "It is not known what it was trained on."),
    ],
)
def test_the_mark_has_its_reason(trained_on, tested, mark, reason):
    found = exposure(Preset(pretrained_on=trained_on), CORPORA.get(tested))
    assert (found.mark, found.reason) == (mark, reason)
    assert found.seen is mark.startswith("saw")


def test_fine_tuning_counts():
    assert exposure(Preset(pretrained_on=(), finetuned_on=("GTZAN",)), CORPORA["GTZAN"]).mark == "saw GTZAN"


@pytest.mark.parametrize(
    ("preset", "tested", "mark"),
    [
        ("clap", "ESC-50", "saw its source"),
        ("clap", "UrbanSound8K", "saw its source"),
        ("ast", "AudioSet", "saw AudioSet"),
        ("yamnet", "ESC-50", "none known"),
        ("yamnet", "VoxCeleb1", "saw its source"),
        ("whisper-base", "Speech Commands", "unknown"),
        ("wav2vec2-base", "FSDD", "none known"),
        ("wav2vec2-nano", "synthetic sounds of audioheads", "saw synthetic sounds of audioheads"),
    ],
)
def test_presets_on_known_corpora(preset, tested, mark):
    assert exposure(get_record(preset), CORPORA[tested]).mark == mark


def test_parts_and_sources_are_known_corpora():
    assert {corpus.part_of for corpus in CORPORA.values()} - {None} <= set(CORPORA)
