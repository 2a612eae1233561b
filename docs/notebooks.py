"""Run a notebook and convert it to a page, with its printed lines, tables, plots and players."""

from __future__ import annotations

import base64
import os
import re
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 600  # for one cell


@dataclass
class NotebookPage:
    """A page and the images on it.

    Attributes:
        text: The page in Markdown.
        images: PNG files by their paths relative to the page.
    """

    text: str
    images: dict[str, bytes] = field(default_factory=dict)


def executed(path: Path) -> Any:
    """Return a notebook with the outputs that its cells give now, run in a temporary folder.

    Raises:
        nbclient.exceptions.CellExecutionError: A cell failed.
    """
    import nbclient
    import nbformat

    book = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        nbclient.NotebookClient(book, timeout=SECONDS, resources={"metadata": {"path": folder}}).execute()
    return book


def notebook_page(path: Path, book: Any) -> NotebookPage:
    """Convert an executed notebook: text cells unchanged, code cells in fences, each with its outputs below.

    Args:
        path: The notebook.
        book: It as an nbformat node, or as the dictionary that its JSON holds.
    """
    page = NotebookPage("")
    note = f"This page is generated from the notebook `docs/guides/{path.name}`, which you can run."
    parts: list[str] = []
    for cell in book["cells"]:
        text = "".join(cell["source"]).strip()
        parts.append(f"```python\n{text}\n```" if cell["cell_type"] == "code" else text)
        parts += _outputs(cell.get("outputs", ()), page, path.stem)
    page.text = "\n\n".join([*parts[:1], note, *parts[1:]]) + "\n"
    return page


def _outputs(outputs: Iterable[Any], page: NotebookPage, name: str) -> Iterable[str]:
    """Yield the outputs of a cell as Markdown, and add their images to the page."""
    for output in outputs:
        data = output.get("data", {})
        if "image/png" in data:
            image = f"{name}_files/{len(page.images)}.png"
            page.images[image] = base64.b64decode(data["image/png"])
            yield f"![Plot of the cell above]({image})"
        elif "text/html" in data:
            yield _html("".join(data["text/html"]))
        else:
            text = "".join(output.get("text") or data.get("text/plain", "")).rstrip()
            yield f"```text\n{text}\n```"


def _html(text: str) -> str:
    """Return the HTML of a table or player without its own style, so that it has that of the site."""
    text = re.sub(r"<style.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r'<table border="\d" class="dataframe">', "<table>", text)
    return re.sub(r"\n\s*\n", "\n", text).strip()
