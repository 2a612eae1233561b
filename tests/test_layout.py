"""The layout that `docs/architecture.md` describes and that CONTRIBUTING promises."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("audioheads", "features", "heads", "pipeline")
MOST_MODULES = 16


def test_every_path_in_the_architecture_page_exists():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    paths = re.findall(r"`((?:audioheads|features|heads|pipeline)/[\w/.]*)`", text)
    assert len(paths) > 10
    assert [path for path in paths if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_every_folder_of_a_package_is_in_its_table(package):
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = text.split(f"## `{package}/`")[1].split("\n## ")[0]
    folders = [path.name for path in (ROOT / package).iterdir() if (path / "__init__.py").exists()]
    assert [name for name in folders if f"`{name}/`" not in table] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_files_named_in_a_row_of_the_table_are_in_that_folder(package):
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = text.split(f"## `{package}/`")[1].split("\n## ")[0]
    for row in re.findall(r"^\| `.*$", table, re.MULTILINE):
        folders = [*re.findall(r"`(\w+)/`", row.split("|")[1]), ""]
        for name in re.findall(r"`(\w+\.py)`", row):
            assert any((ROOT / package / folder / name).exists() for folder in folders), (row, name)


def test_no_folder_holds_more_modules_than_a_reader_can_keep_in_mind():
    folders = [path.parent for package in (*PACKAGES, "benchmarks") for path in (ROOT / package).rglob("__init__.py")]
    sizes = {str(folder.relative_to(ROOT)): len([*folder.glob("*.py")]) - 1 for folder in folders}
    assert {folder: size for folder, size in sizes.items() if size > MOST_MODULES} == {}


def test_every_benchmark_named_in_the_documentation_is_a_module():
    pages = [path.read_text(encoding="utf-8") for path in (ROOT / "docs").rglob("*.md")]
    names = {name for page in pages for name in re.findall(r"python -m (benchmarks(?:\.\w+)?)", page)}
    assert len(names) > 8
    for name in names:
        place = ROOT / name.replace(".", "/")
        assert place.with_suffix(".py").exists() or (place / "__main__.py").exists(), name
