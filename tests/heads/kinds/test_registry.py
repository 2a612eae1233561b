"""The table of heads: every line is a head of that name, and its options are there without the heavy libraries."""

import json
import subprocess
import sys

import pytest

from heads.batched.job import HeadType
from heads.kinds.registry import HEADS, head_type, options_class

HEAVY = ("torch", "sklearn", "scipy", "pandas", "joblib", "skops")
SCRIPT = f"""
import json, sys
from heads.kinds.registry import HEADS, options_class
names = {{name: options_class(name)().name for name in HEADS}}
print(json.dumps([names, [module for module in {HEAVY} if module in sys.modules]]))
"""


@pytest.mark.parametrize("name", HEADS)
def test_every_line_is_a_head_of_that_name(name):
    found = head_type(name)
    assert isinstance(found, HeadType) and found.options is options_class(name)
    assert found.options().name == name and found.options().configurations()
    assert found.graph is not None or found.no_graph


def test_the_options_of_every_head_need_no_heavy_library():
    done = subprocess.run([sys.executable, "-c", SCRIPT], check=True, capture_output=True, text=True)
    names, loaded = json.loads(done.stdout)
    assert names == {name: name for name in HEADS}
    assert loaded == []
