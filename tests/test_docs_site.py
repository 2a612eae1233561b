"""The documentation builds without a warning, has every guide, and loads nothing from elsewhere."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import ROOT

pytestmark = pytest.mark.docs


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for package in ("mkdocs", "material", "mkdocstrings"):
        pytest.importorskip(package, reason="pip install 'audioheads[docs]'")
    folder = tmp_path_factory.mktemp("site")
    # Not --quiet: it would keep warnings from --strict.
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    offline = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9", "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **offline}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_guide_is_a_page_that_the_start_page_leads_to(site: Path) -> None:
    start = (site / "index.html").read_text(encoding="utf-8")
    guides = [path.stem for path in (ROOT / "docs" / "guides").iterdir() if path.suffix in (".md", ".ipynb")]
    for name in guides:
        assert (site / "guides" / f"{name}.html").is_file(), name
        assert f'href="guides/{name}.html"' in start, name
    assert "<h1" in (site / "guides" / "tour.html").read_text(encoding="utf-8")
    assert not list(site.rglob("*.py"))


def test_the_tour_has_its_outputs(site: Path) -> None:
    text = (site / "guides" / "tour.html").read_text(encoding="utf-8")
    images = re.findall(r'<img[^>]+src="(tour_files/\d+\.png)"', text)
    assert len(images) == 3
    assert all((site / "guides" / image).read_bytes().startswith(b"\x89PNG") for image in images)
    assert text.count("<audio") == 2
    assert "<table>" in text and "wav2vec2-nano</td>" in text
    assert "<style scoped>" not in text


def test_the_reference_comes_from_the_docstrings(site: Path) -> None:
    text = (site / "reference" / "features.html").read_text(encoding="utf-8")
    assert 'id="features.store.EmbeddingTable.embeddings"' in text
    assert "Return all clip vectors of one pooling" in text


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    pages = [*site.rglob("*.html"), *site.rglob("*.css")]
    assert len(pages) > 10
    for page in pages:
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r'<(?:script|img|iframe)[^>]+src="(https?:|//)', text)
        loaded += re.findall(r'<link[^>]+rel="(?:stylesheet|preconnect|preload)"[^>]+href="(https?:|//)', text)
        loaded += re.findall(r"@import\s+url\(['\"]?https?:|url\(['\"]?https?:", text)
        assert loaded == [], page
