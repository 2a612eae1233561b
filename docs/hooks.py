"""MkDocs hooks: add every guide to the navigation, and pages made from notebooks, keys and commands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from notebooks import executed, notebook_page  # MkDocs imports this file with its folder on the path

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
        page = notebook_page(path, executed(path))
        files.append(File.generated(config, f"guides/{path.stem}.md", content=page.text))
        for name, image in page.images.items():
            files.append(File.generated(config, f"guides/{name}", content=image))
    for name, text in (("configuration", configuration_page()), ("commands", commands_page())):
        files.append(File.generated(config, f"reference/{name}.md", content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Make links of the reports in the gallery that `make gallery` has made."""
    if page.file.src_uri != "gallery.md":
        return markdown

    def link(found: re.Match[str]) -> str:
        report = f"gallery/{found[1]}/index.html"
        return f"[{found[2]}]({report})" if (Path(config.docs_dir) / report).is_file() else found[2]

    return re.sub(r"<!-- (\w+) --> ([^|]+?)(?= \|)", link, markdown)


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
