"""Messages about a backbone name the user's entry, and the option they advise changes that entry."""

import re

import pytest

from features.backbones import describe, load
from features.errors import RunError, UserError
from pipeline.config.overrides import apply_overrides

LITERT = {"tensor": "x", "sample_rate_hz": 16000, "window_samples": 10, "hop_samples": 10}
UNAVAILABLE = [
    {"name": "wav2vec2", "weights": "no/folder/here"},
    {"name": "transformers", "weights": "no/folder/here"},
    {"name": "vggish", "weights": "nowhere.pth"},
    {"name": "litert", "weights": "nowhere.tflite", **LITERT},
    {"name": "yamnet", "weights": "nowhere.tflite"},
    {"name": "onnx", "weights": "nowhere.onnx", "sample_rate_hz": 16000},
]


@pytest.mark.parametrize("entry", UNAVAILABLE, ids=lambda entry: entry["name"])
def test_the_advised_option_changes_the_labelled_entry(entry):
    entries = [{**entry, "label": "first"}, {**entry, "label": "second"}]
    with pytest.raises(UserError) as raised:
        describe(entries[1])
    message = str(raised.value)
    assert message.startswith("second: ")
    advised = re.search(r"set (features\.backbones\.\S+\.weights) to", message)
    assert advised, message
    apply_overrides({"features": {"backbones": entries}}, [f"{advised[1]}=elsewhere"])
    assert [each["weights"] for each in entries] == [entry["weights"], "elsewhere"]


def test_a_file_without_the_entrys_name_in_its_message_is_named_with_the_entry(tmp_path):
    (tmp_path / "bad.pth").write_bytes(b"not a checkpoint")
    with pytest.raises(UserError, match=r"^mine: .*bad\.pth: begins with b'not a checkpoint', so it is not a file"):
        load({"name": "vggish", "label": "mine", "weights": str(tmp_path / "bad.pth")})
    (tmp_path / "config.json").write_text("{")
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match=r"^mine: .*config\.json: not valid JSON"):
        describe({"name": "wav2vec2", "label": "mine", "weights": str(tmp_path)})


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_a_constructor_that_fails_is_named_with_the_entry():
    """A hop of zero samples makes transformers divide by it."""
    entry = {"name": "dac-16khz", "label": "mine", "weights": "random", "architecture": {"downsampling_ratios": [0]}}
    with pytest.raises(RunError, match=r"^mine: cannot be loaded \(ZeroDivisionError: .*\); check the options"):
        describe(entry)


@pytest.mark.parametrize("error", [MemoryError(), PermissionError(13, "Permission denied", "x.pth")])
def test_memory_and_files_are_no_fault_of_an_entry(error, monkeypatch):
    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr("features.backbones.mfcc.describe", fail)
    with pytest.raises(type(error)):
        describe({"name": "mfcc"})
