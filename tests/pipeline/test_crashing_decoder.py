"""A file whose decoding ended one `audit` or `report` does not end the next one."""

import json
import os
import signal

import numpy as np
import pytest
import soundfile as sf

from features.system.attempts import PREFIX
from tests import processes
from tests.features.test_crashing_decoder import CRASH
from tests.paths import ROOT

CONFIG = """
name: decoded
dataset: {kind: folder, root: clips}
features: {backbones: [{name: mfcc}]}
heads: [{name: linear}]
"""
TWINS = ("crash-a.wav", "crash-b.aiff")  # the same samples; browsers do not play the second, so it is decoded


def audioheads_that_crashes(arguments):
    from pipeline.cli.app import main

    exec(CRASH, {})
    main(arguments)


@pytest.mark.crash
@pytest.mark.e2e
def test_a_file_that_ended_an_audit_or_a_report_does_not_end_the_next_one(tmp_path):
    rng = np.random.default_rng(0)
    noise = rng.uniform(-0.5, 0.5, (13, 8000)).astype("f4")
    names = [f"{'ab'[number % 2]}/{number}.wav" for number in range(12)]
    for name, samples in zip([*names, *(f"a/{twin}" for twin in TWINS)], [*noise, noise[-1]], strict=True):
        (tmp_path / "clips" / name).parent.mkdir(parents=True, exist_ok=True)
        sf.write(tmp_path / "clips" / name, samples, 16_000, subtype="PCM_16")
    (tmp_path / "config.yaml").write_text(CONFIG)
    hook = tmp_path / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(CRASH)
    path = os.pathsep.join([str(hook), str(ROOT)])
    for command in ("run", "datasets audit"):
        done = processes.audioheads(*command.split(), "config.yaml", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "runs" / "decoded" / "audit.json").read_text())
    assert [f"a/{twin}" for twin in TWINS] in [item for one in found["findings"] for item in one["items"]]

    for command in ("datasets audit config.yaml", "report config.yaml --embed-audio"):
        codes = []
        while not codes or codes[-1]:
            assert len(codes) <= len(TWINS), "ends again at a file that ended it before"
            done = processes.run(audioheads_that_crashes, command.split(), cwd=tmp_path, PYTHONPATH=path)
            codes.append(done.returncode)
            assert codes[-1] in (0, -signal.SIGSEGV), done.stderr
            assert codes[-1] == 0 or list((tmp_path / "cache").rglob(f"{PREFIX}*"))
        if "audit" in command:
            assert codes[0] == -signal.SIGSEGV
