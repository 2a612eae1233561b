"""The messages that docs/messages.md explains are those that the program prints."""

import re

import pytest

from tests.paths import ROOT

PAGE = (ROOT / "docs" / "messages.md").read_text(encoding="utf-8")
QUOTED = sorted(
    {quoted for row in re.findall(r"^\| (`.+?) \|", PAGE, re.MULTILINE) for quoted in re.findall(r"`(.+?)`", row)}
)


@pytest.fixture(scope="module")
def source() -> str:
    """The program's text; strings that are continued on the next line are joined."""
    packages = [ROOT / name for name in ("audioheads", "features", "heads", "pipeline")]
    texts = [path.read_text(encoding="utf-8") for package in packages for path in sorted(package.rglob("*.py"))]
    return re.sub(r'"\s*\n\s*f?"', "", "\n".join(texts))


def test_the_page_explains_messages() -> None:
    assert len(QUOTED) > 30


@pytest.mark.parametrize("quoted", QUOTED)
def test_the_program_prints_it(quoted: str, source: str) -> None:
    if quoted != "No space left on device":  # printed by the system
        assert quoted in source
