"""MkDocs hooks: add every guide to the navigation and convert notebooks to pages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FIRST = (
    *(
        "init",
        "own-folder",
        "own-data",
        "tour",
        "reading-the-table",
        "report",
        "download",
        "predict",
        "export",
        "cache",
    ),
)


def on_config(config: Any) -> Any:
    """List every guide under Guides: first those in `FIRST`, in this order, then the others by name."""
    folder = Path(config.docs_dir) / "guides"
    names = sorted({path.stem for path in (*folder.glob("*.md"), *folder.glob("*.ipynb"))})
    names.sort(key=lambda name: FIRST.index(name) if name in FIRST else len(FIRST))
    for section in config.nav:
        if "Guides" in section:
            section["Guides"] = [f"guides/{name}.md" for name in names]
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add a page for each notebook."""
    from mkdocs.structure.files import File

    for path in sorted((Path(config.docs_dir) / "guides").glob("*.ipynb")):
        page = File.generated(config, f"guides/{path.stem}.md", content=notebook_page(path))
        files.append(page)
    return files


def notebook_page(path: Path) -> str:
    """Return a notebook as Markdown: text cells unchanged, code cells in fences."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    parts = []
    for cell in cells:
        text = "".join(cell["source"]).strip()
        parts.append(f"```python\n{text}\n```" if cell["cell_type"] == "code" else text)
    note = f"This page is generated from the notebook `docs/guides/{path.name}`, which you can run."
    return "\n\n".join([*parts[:1], note, *parts[1:]]) + "\n"
