"""`doctor` on this machine, and with mismatched packages."""

from importlib import metadata
from pathlib import Path

import pytest

from pipeline import doctor
from pipeline.console import Console


@pytest.mark.parametrize(
    ("versions", "expected"),
    [
        ({"torch": "2.11.0", "torchaudio": "2.11.0", "torchvision": "0.26.0"}, []),
        ({"torch": "2.11.0+cu130", "torchaudio": "2.11.1"}, []),
        ({"torch": "2.11.0", "torchaudio": "2.10.0"}, ["install torchaudio==2.11.*"]),
        ({"torch": "2.10.0", "torchaudio": "2.10.0", "torchvision": "0.26.0"}, ["install torchvision==0.25.*"]),
        ({"torchaudio": "2.10.0"}, []),
    ],
)
def test_companions_of_another_torch_are_named(versions, expected):
    found = doctor.mismatches(versions)
    assert len(found) == len(expected)
    for sentence, words in zip(found, expected, strict=True):
        assert sentence.endswith(words)


def test_examines_this_machine(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(doctor.metadata, "version", lambda name: "2.0.0" if name == "torchaudio" else _version(name))
    blocked = tmp_path / "file"
    blocked.write_text("")
    doctor.examine(Console(), (tmp_path / "new" / "cache", blocked / "runs"))
    lines = capsys.readouterr().out.splitlines()
    found = {line.split()[0]: line for line in lines if line.strip()}
    import soundfile
    import torch

    assert torch.__version__.split("+")[0] in found["torch"]
    assert str(Path(torch.__file__).parent) in found["torch"]
    assert f"libsndfile {soundfile.__libsndfile_version__}" in found["soundfile"]
    assert "not reachable" in found["model"]
    assert " writable" in found[str(tmp_path / "new" / "cache")]
    assert "not writable" in found[str(blocked / "runs")]
    assert not (tmp_path / "new").exists()
    assert "torchaudio 2.0.0 does not match torch" in lines[-1]


_version = metadata.version
