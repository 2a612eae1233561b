"""The audit from the command line: planted problems are found, printed and written."""

import json
from pathlib import Path
from shutil import copyfile

import numpy as np
import pytest
import soundfile as sf

from pipeline.audit.run import AUDIT_FILE, run_audit
from pipeline.config.config import load_config
from pipeline.console import Console
from pipeline.stages.features import run_features

RATE = 16_000
CLIPS = 36
CONFIG = """
dataset: {kind: csv, root: list.csv, name: planted}
features: {backbones: [{name: mfcc}]}
output: {cache: cache, runs: runs}
"""


def sound(seed: int) -> np.ndarray:
    """Coloured noise with a distinct spectrum."""
    rng = np.random.default_rng(seed)
    white = rng.standard_normal(RATE // 2)
    spectrum = np.fft.rfft(white) * np.interp(
        np.linspace(0, 1, len(white) // 2 + 1), np.linspace(0, 1, 12), rng.uniform(0, 1, 12)
    )
    coloured = np.fft.irfft(spectrum)
    return (0.4 * coloured / np.abs(coloured).max()).astype(np.float32)


@pytest.fixture
def clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """Manifest rows of dissimilar sounds in three folds; two clips per group, one fold per group."""
    monkeypatch.chdir(tmp_path)
    Path("audio").mkdir()
    rows = []
    for number in range(CLIPS):
        path = f"audio/{number:02d}.wav"
        sf.write(path, sound(number), RATE)
        fold, label = number // 2 % 3, "ab"[number // 6 % 2]
        rows.append({"path": path, "label": label, "fold": str(fold), "group": f"g{number // 2}"})
    Path("planted.yaml").write_text(CONFIG)
    return rows


def audit(rows: list[dict[str, str]], *sets: str, strict: bool = False, features: bool = True) -> tuple[bool, dict]:
    """Write the manifest, embed and audit; return whether it is clean, and the content of `audit.json`."""
    columns = list(rows[0])
    lines = [",".join(columns), *(",".join(row[column] for column in columns) for row in rows)]
    Path("list.csv").write_text("\n".join(lines) + "\n")
    config = load_config("planted.yaml", sets)
    if features:
        run_features(config, device="cpu", limit=None, dry_run=False, strict=False, rehash=False, console=Console())
    clean = run_audit(config, strict=strict, console=Console())
    return clean, json.loads((config.run_dir / AUDIT_FILE).read_text())


def kinds(stored: dict) -> dict[str, str]:
    return {found["kind"]: found["severity"] for found in stored["findings"]}


def test_a_sound_corpus_has_no_findings(clips, capsys: pytest.CaptureFixture[str]) -> None:
    clean, stored = audit(clips, strict=True)
    assert clean and stored["findings"] == []
    assert stored["format"] == "audioheads-audit" and stored["format_version"] == 1
    assert stored["labels"] == {"a": 18, "b": 18} and stored["sample_rates"] == {"16000": CLIPS}
    assert [split["test"] for split in stored["splits"]] == [12, 12, 12]
    assert stored["durations"] == {"n_clips": 36, "min_s": 0.5, "median_s": 0.5, "max_s": 0.5, "total_s": 18.0}
    assert stored["near_duplicates"]["backbones"] == {"mfcc": {"layer": 0, "pooling": "mean", "clips": CLIPS}}
    assert "audit planted: 0 errors, 0 warnings, 0 notes → runs/planted/audit.json" in capsys.readouterr().out


def test_everything_that_is_planted_is_found(clips, capsys: pytest.CaptureFixture[str]) -> None:
    copyfile("audio/00.wav", "audio/02.wav")  # fold 0 in fold 1
    copyfile("audio/01.wav", "audio/06.wav")  # another label, the same fold
    sf.write("audio/04.flac", sf.read("audio/10.wav")[0], RATE)  # the samples of fold 2 under label a
    clips[4]["path"] = "audio/04.flac"
    almost, _ = sf.read("audio/12.wav", dtype="float32")
    sf.write("audio/15.wav", 0.9 * almost, RATE)  # fold 0 in fold 1, a little quieter
    clips[20]["group"] = clips[22]["group"]  # folds 1 and 2
    Path("audio/35.wav").write_bytes(b"not audio")
    clean, stored = audit(clips)
    assert clean
    assert kinds(stored) == {
        "group-overlap": "warning",
        "audio-overlap": "warning",
        "conflicting-labels": "warning",
        "near-duplicates-across": "warning",
        "unreadable": "warning",
        "identical-audio": "note",
        "near-duplicates": "note",
    }
    assert {tuple(same["ids"]): same["across"] for same in stored["identical_audio"]} == {
        ("audio/00.wav", "audio/02.wav"): True,
        ("audio/01.wav", "audio/06.wav"): False,
    }
    pairs = {tuple(pair["ids"]): pair for pair in stored["near_duplicates"]["pairs"]}
    assert set(pairs) == {("audio/04.flac", "audio/10.wav"), ("audio/12.wav", "audio/15.wav")}
    flac, quiet = pairs["audio/04.flac", "audio/10.wav"], pairs["audio/12.wav", "audio/15.wav"]
    assert (flac["same_samples"], flac["across"], flac["labels"]) == (True, False, ["a", "b"])
    assert (quiet["same_samples"], quiet["across"], quiet["backbone"]) == (False, True, "mfcc")
    assert 0.98 <= quiet["similarity"] < flac["similarity"] <= 1.00001
    conflicting = [found["items"] for found in stored["findings"] if found["kind"] == "conflicting-labels"]
    assert sorted(conflicting) == [[["audio/01.wav", "audio/06.wav"]], [["audio/04.flac", "audio/10.wav"]]]
    assert list(stored["failures"]) == ["audio/35.wav"] and sum(split["test"] for split in stored["splits"]) == 35
    out = capsys.readouterr().out
    assert "same samples" in out and "unreadable audio/35.wav: " in out
    clean, stored = audit(clips, strict=True, features=False)
    assert not clean
    assert {kind for kind, severity in kinds(stored).items() if severity == "error"} == {
        "group-overlap",
        "audio-overlap",
        "conflicting-labels",
        "unreadable",
    }


def test_drawn_splits_keep_identical_files_whole_but_cannot_know_of_other_copies(clips) -> None:
    rows = [{key: row[key] for key in ("path", "label")} for row in clips]
    for number in range(0, 12, 2):  # six pieces of audio twice, as the same bytes and as FLAC
        copyfile(f"audio/{number:02d}.wav", f"audio/{number + 1:02d}.wav")
        sf.write(f"audio/{number + 12:02d}.flac", sf.read(f"audio/{number:02d}.wav")[0], RATE)
        rows[number + 12] |= {"path": f"audio/{number + 12:02d}.flac", "label": rows[number]["label"]}
    clean, stored = audit(rows, "protocol=kfold", strict=True)
    assert not any(same["across"] for same in stored["identical_audio"]) and len(stored["identical_audio"]) == 6
    found = kinds(stored)
    assert not clean and found["audio-overlap"] == "error" and found["groups"] == "note"
    assert "parted-groups" not in found
    parted = [pair for pair in stored["near_duplicates"]["pairs"] if pair["across"]]
    assert parted and all(pair["same_samples"] for pair in parted)


def test_without_embeddings_the_audit_names_the_command_to_run(clips) -> None:
    clean, stored = audit(clips, features=False)
    [found] = stored["findings"]
    assert clean and found["kind"] == "not-compared" and found["severity"] == "note"
    assert "mfcc: no embeddings yet" in found["message"]
    assert "run `audioheads features planted.yaml` first" in found["message"]


def test_clips_that_changed_since_they_were_embedded_are_not_compared(clips) -> None:
    audit(clips)
    copyfile("audio/00.wav", "audio/07.wav")
    _, stored = audit(clips, features=False)
    assert stored["near_duplicates"]["backbones"]["mfcc"]["clips"] == CLIPS - 1
    assert stored["near_duplicates"]["n_pairs"] == 0


def test_a_corpus_that_the_protocol_cannot_divide_is_an_error_and_the_rest_is_reported(clips) -> None:
    for row in clips:
        row["fold"] = "1"
    sf.write("audio/00.wav", sound(0)[:100], RATE)
    sf.write("audio/01.wav", sound(1), 8000)
    clean, stored = audit(clips, features=False)
    assert not clean and stored["splits"] == []
    assert kinds(stored) == {
        "protocol": "error",
        "not-compared": "note",
        "durations": "note",
        "sample-rates": "note",
    }


def test_a_damaged_cache_and_one_of_frames_are_left_out(clips) -> None:
    audit(clips)
    [cache] = Path("cache/planted").glob("*.h5")
    content = bytearray(cache.read_bytes())
    content[len(content) // 3] ^= 1
    cache.write_bytes(content)
    _, stored = audit(clips, features=False)
    assert "damaged" in stored["near_duplicates"]["not_compared"]["mfcc"]
    clean, stored = audit(clips, "features.pooling=[frames]")
    assert clean and "frames only" in stored["near_duplicates"]["not_compared"]["mfcc"]


def test_labels_that_are_lists_or_numbers_can_be_audited(clips) -> None:
    for number, row in enumerate(clips):
        row["label"] = f"{number / 7:.3f}"
    _, stored = audit(clips, features=False)
    assert (stored["task"], stored["labels"], stored["splits"][0]["fewest"]) == ("regression", None, None)
    for number, row in enumerate(clips):
        row["label"] = '"[""rain"", ""wind""]"' if number % 4 else '"[""rain""]"'
    _, stored = audit(clips, features=False)
    assert (stored["task"], stored["labels"]) == ("multi-label", {"rain": 36, "wind": 27})
