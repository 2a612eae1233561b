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
        "stages",
        "heads-and-protocols",
        "backbones",
        "end-to-end",
        "python",
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
    """Add a page for each notebook, one with all configuration keys, and one with all commands."""
    from mkdocs.structure.files import File

    for path in sorted((Path(config.docs_dir) / "guides").glob("*.ipynb")):
        page = File.generated(config, f"guides/{path.stem}.md", content=notebook_page(path))
        files.append(page)
    for name, text in (("configuration", configuration_page()), ("commands", commands_page())):
        files.append(File.generated(config, f"reference/{name}.md", content=text))
    return files


def configuration_page() -> str:
    """Return the page of all configuration keys."""
    from pipeline.config.reference import reference_text

    return reference_text()


def commands_page() -> str:
    """Return the help of every command as Markdown."""
    import typer
    from typer.cli import get_docs_for_click

    from pipeline.cli.app import app

    command = typer.main.get_command(app)
    text = get_docs_for_click(obj=command, ctx=typer.Context(command), name="audioheads", title="All commands")
    return str(text)


def notebook_page(path: Path) -> str:
    """Return a notebook as Markdown: text cells unchanged, code cells in fences."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    parts = []
    for cell in cells:
        text = "".join(cell["source"]).strip()
        parts.append(f"```python\n{text}\n```" if cell["cell_type"] == "code" else text)
    note = f"This page is generated from the notebook `docs/guides/{path.name}`, which you can run."
    return "\n\n".join([*parts[:1], note, *parts[1:]]) + "\n"
