"""JSON and scripts embedded in HTML."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from importlib import resources

import numpy as np
import pytest

from pipeline.report.render.embedded import json_script, json_text, plotly_script, policy, scripts
from tests.pipeline.report.hostile import NAMES


class Elements(HTMLParser):
    """Tags with their attributes, and the text of scripts."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.tags, self.texts = [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.texts.append(data)


def test_no_name_ends_its_script():
    found = Elements(f"<p>{json_script({'names': NAMES}, class_='data')}</p>")
    assert found.tags == [("p", {}), ("script", {"type": "application/json", "class": "data"})]
    assert json.loads(found.texts[0]) == {"names": list(NAMES)}


def test_attributes_are_escaped():
    (tag, attributes), *rest = Elements(str(json_script(1, data_name=NAMES[1]))).tags
    assert not rest and tag == "script" and NAMES[1] in attributes.values()


def test_line_separators_are_escaped_too():
    assert "\u2028" not in json_script("a\u2028b\u2029") and "\u2029" not in json_script("a\u2028b\u2029")


def test_numbers_of_numpy_become_numbers_and_nan_null():
    value = {"a": np.float32(0.5), "b": np.arange(3), "c": [float("nan"), np.nan, np.inf], 4: (np.int64(1), True)}
    assert json.loads(json_text(value)) == {"a": 0.5, "b": [0, 1, 2], "c": [None] * 3, "4": [1, True]}


def test_a_value_without_a_json_form_is_an_error():
    with pytest.raises(TypeError):
        json_text({"path": object()})


def test_the_policy_allows_the_page_s_own_scripts_and_no_others():
    allowed = set(re.findall(r"'sha256-([^']+)'", policy()))
    own = {base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (*scripts(), plotly_script())}
    assert allowed == own
    assert "'unsafe-inline'" not in policy().split("script-src")[1].split(";")[0]
    assert "http" not in policy()


def test_plotly_is_the_published_file_with_its_licence():
    folder = resources.files("pipeline.report") / "assets" / "plotly"
    digest = hashlib.sha256((folder / "plotly-cartesian.min.js").read_bytes()).hexdigest()
    assert digest in (folder / "README.md").read_text() and "MIT" in (folder / "LICENSE").read_text()
    assert len(plotly_script()) < 1_600_000
