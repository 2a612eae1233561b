"""A run over many good files with hostile ones among them: the good ones are done, each bad one is named."""

import importlib.util
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import soundfile as sf

from features.store.verify import verify_table
from tests.features.test_crashing_decoder import CRASH
from tests.features.test_hostile_files import with_checksum
from tests.paths import ROOT, SHARED

GOOD = 1000
MOST_BYTES = 2 << 30
CASES = SHARED / "cases" / "make_cases.py"
CONFIG = """
name: hostile
dataset: {kind: folder, root: clips}
features: {backbones: [{name: mfcc}]}
heads: [{name: linear}]
"""

# Runs a command. A process of its own, because the peak that Linux reports of a child begins at that of its parent.
MEASURED = """
import os, subprocess, sys
with open("printed", "w") as printed:
    process = subprocess.Popen(sys.argv[1:], stdout=printed, stderr=subprocess.STDOUT)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
print(process.returncode, used.ru_maxrss)
"""


def run(folder, hook):
    """Run stage 1 and return its exit status, what it printed, and its peak memory in bytes."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(hook), str(ROOT)]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pipeline.cli", "features", "config.yaml", "--device", "cpu"]
    started = [sys.executable, "-S", "-c", MEASURED, *command]
    done = subprocess.run(started, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    code, peak = map(int, done.stdout.split())
    return code, (folder / "printed").read_text(), peak * 1024


def write_hostile(folder):
    """Write files that must fail, by name, with part of the reason."""
    rng = np.random.default_rng(0)
    noise = rng.uniform(-0.5, 0.5, 16_000).astype("f4")
    sf.write(folder / "crash.wav", noise, 16_000)  # see `CRASH`
    sf.write(folder / "nan.wav", np.full(1600, np.nan, "f4"), 16_000, subtype="FLOAT")
    sf.write(folder / "rate.wav", noise, 16_000, subtype="PCM_16")
    slow = bytearray((folder / "rate.wav").read_bytes())
    slow[24:32] = np.array([1, 2], "<u4").tobytes()
    (folder / "rate.wav").write_bytes(slow)
    sf.write(folder / "far.ogg", np.tile(noise, 8), 44_100, format="OGG", subtype="VORBIS")
    far = (folder / "far.ogg").read_bytes()
    last = far.rfind(b"OggS")
    page = with_checksum(far[last : last + 6] + np.array([2**62], "<i8").tobytes() + far[last + 14 :])
    (folder / "far.ogg").write_bytes(far[:last] + page)
    sf.write(folder / "holes.mp3", np.tile(noise, 20), 44_100, format="MP3")
    (folder / "holes.mp3").write_bytes((folder / "holes.mp3").read_bytes()[:2000])
    (folder / "text.flac").write_bytes(b"not audio " * 1000)
    (folder / "empty.wav").touch()
    (folder / "dangling.wav").symlink_to("nowhere")
    return {
        "crash.wav": "the decoder crashes with SIGSEGV",
        "nan.wav": "NaN or infinite",
        "rate.wav": "implausible sample rate of 1 Hz",
        "far.ogg": "hold at most",
        "text.flac": "",
        "empty.wav": "empty",
        "dangling.wav": "dangling link",
    }


@pytest.mark.e2e
def test_a_thousand_good_files_are_done_and_each_hostile_one_is_named_within_2_gib(tmp_path):
    (tmp_path / "config.yaml").write_text(CONFIG)
    for label in ("a", "b"):
        (tmp_path / "clips" / label).mkdir(parents=True)
    rng = np.random.default_rng(1)
    good = [f"{'ab'[number % 2]}/{number}.wav" for number in range(GOOD)]
    for name in good:
        sf.write(tmp_path / "clips" / name, rng.uniform(-0.5, 0.5, 1600).astype("f4"), 16_000)
    right = {}
    if CASES.is_file():
        spec = importlib.util.spec_from_file_location("make_cases", CASES)
        cases = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(cases)
        right = cases.make(tmp_path / "clips" / "a")
    bad = write_hostile(tmp_path / "clips" / "b")
    hook = tmp_path / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(CRASH)

    peaks = []
    for expected in (-signal.SIGSEGV, 0):
        code, printed, peak = run(tmp_path, hook)
        peaks.append(peak)
        assert code == expected, printed
    sys.stdout.write(f"peak memory: {', '.join(f'{peak / 2**20:.0f} MiB' for peak in peaks)}\n")
    assert max(peaks) < MOST_BYTES, peaks

    failures = json.loads((tmp_path / "runs" / "hostile" / "failures.json").read_text())
    for name, reason in bad.items():
        assert reason in failures[f"b/{name}"]
    for name, outcome in right.items():
        if outcome.startswith("a failure"):
            assert f"a/{name}" in failures
        elif "failure" not in outcome:
            assert f"a/{name}" not in failures
    others = {f"b/{name}" for name in bad} | {f"a/{name}" for name in right} | {"b/holes.mp3"}
    assert set(failures) <= others
    (cache,) = (tmp_path / "cache").rglob("*.h5")
    assert set(good) <= set(verify_table(cache).ids)
    assert "mpg123" not in printed
    assert "Traceback" not in printed
    assert f"{len(failures)} failed" in printed
