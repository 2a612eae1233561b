"""Naming, listing and checking backbones loads none of the libraries that compute."""

import json
import subprocess
import sys

from features.backbones import BACKBONES

HEAVY = ["torch", "torchaudio", "transformers", "librosa", "pandas", "onnxruntime", "h5py", "numpy", "scipy"]
WITHOUT = f"""
import sys
HEAVY = {HEAVY!r}
def check(after):
    loaded = sorted(set(HEAVY) & set(sys.modules))
    assert not loaded, f"{{after}} loads {{loaded}}"
"""


def run_python(code: str) -> str:
    """Standard output of a process that runs some code."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_the_contract_and_every_family_is_light():
    modules = ["features.spec", "features.backbones.base", *BACKBONES.values()]
    run_python(WITHOUT + "".join(f"import {module}\ncheck({module!r})\n" for module in modules))


def test_listing_and_checking_entries_is_light():
    run_python(f"""{WITHOUT}
from features import backbones
check("features.backbones")
assert len(backbones.list_backbones()) > len(backbones.BACKBONES)
check("list_backbones")
for name in backbones.names():
    assert "name" in backbones.options_class(name).model_fields
check("options_class")
own = {{
    "wav2vec2": {{"weights": "random"}}, "transformers": {{"weights": "random", "model_type": "whisper"}},
    "litert": {{"weights": "a.tflite", "tensor": "t", "sample_rate_hz": 8000, "window_samples": 9, "hop_samples": 9}},
    "onnx": {{"weights": "a.onnx", "sample_rate_hz": 8000}}, "hear": {{"module": "a"}},
    "python": {{"callable": "a:b", "sample_rate_hz": 8000}}, "resemblyzer": {{"weights": "random"}},
    "panns": {{"weights": "random"}},
    "aves": {{"weights": "random"}}, "beats": {{"weights": "random"}}, "openl3": {{"weights": "random"}},
    "m2d": {{"weights": "random"}}, "dasheng": {{"weights": "random"}},
    "ecapa": {{"weights": "random"}}, "muq": {{"weights": "random"}}, "passt": {{"weights": "random"}},
}}
for name in backbones.names():
    assert backbones.parse_options({{"name": name, **own.get(name, {{}})}}).name == name
check("parse_options")
""")


def test_the_command_that_lists_backbones_is_light():
    printed = run_python(f"""
import json, sys
from pipeline.cli import main
try:
    main(["backbones", "ls"])
except SystemExit as end:
    assert end.code == 0
print(json.dumps(sorted(set({HEAVY!r}) & set(sys.modules))))
""")
    *table, loaded = printed.splitlines()
    assert {line.split()[0] for line in table} >= set(BACKBONES)
    assert json.loads(loaded) == []


def test_handcrafted_and_untrained_backbones_are_described_without_torch():
    run_python(f"""{WITHOUT}
from features.backbones import describe
entries = [{{"name": "mfcc"}}, {{"name": "logmel"}}, {{"name": "waveform"}}, {{"name": "vggish", "weights": "random"}}]
for entry in entries:
    describe(entry)
    check(entry["name"])
""")
