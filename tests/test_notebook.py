"""The tour in docs/guides runs from top to bottom, and its table is what it says. The site runs it, too."""

import json
from pathlib import Path

import nbclient
import nbformat
import pandas as pd
import pytest

from tests.paths import ROOT

NOTEBOOKS = sorted((ROOT / "docs").rglob("*.ipynb"))


@pytest.mark.docs
@pytest.mark.filterwarnings("ignore")  # of the kernel's own machinery; the cells run in another process
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("MPLBACKEND", raising=False)
    for variable in ("IPYTHONDIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR"):
        monkeypatch.setenv(variable, str(tmp_path / "home"))
    book = nbformat.read(path, as_version=4)
    book.metadata.kernelspec = {"name": "python3", "display_name": "", "language": "python"}
    nbclient.NotebookClient(book, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in book.cells for output in cell.get("outputs", ())]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 3
    assert sum("<audio" in output.get("data", {}).get("text/html", "") for output in outputs) == 2
    table = pd.read_csv(tmp_path / "runs" / "tour" / "report" / "results.csv")
    assert set(table["head"].dropna()) == {"linear", "knn"}
    best = float(table["accuracy"].max())
    assert best > 0.5
    printed = "".join(output.get("text", "") for output in outputs)
    assert f"{best:.3f}" in printed, "the predictions do not give the table's accuracy"
    said = outputs[-2]["data"]["text/plain"].splitlines()[:4]
    assert max(said, key=lambda line: float(line.split()[1])).startswith("siren")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_stored_without_outputs(path: Path) -> None:
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        assert not cell.get("outputs") and cell.get("execution_count") is None
