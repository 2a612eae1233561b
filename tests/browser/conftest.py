"""A headless Chromium, and pages that fail the test on network requests and errors."""

import os
from pathlib import Path

import pytest

from pipeline.console import Console
from pipeline.report.run import run_report
from tests.browser.browsers import find_browser, why_not
from tests.pipeline.report.experiments import hostile_experiment

# The last two: some machines have no sandbox and no GPU.
FLAGS = (
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run",
    "--no-sandbox", "--disable-gpu",
)  # fmt: skip


def pytest_collection_modifyitems(items):
    """Mark the tests of this folder, and skip them where there is no browser."""
    here = [item for item in items if Path(__file__).parent in item.path.parents]
    reason = why_not() if here else None
    for item in here:
        item.add_marker(pytest.mark.browser)
        if reason:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def chromium():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def experiment(tmp_path_factory):
    """A reported real experiment with hostile names."""
    config = hostile_experiment(tmp_path_factory.mktemp("experiment"))
    run_report(config, console=Console())
    return config


@pytest.fixture(scope="session")
def report(experiment):
    """The path of its page."""
    return experiment.run_dir / "report" / "index.html"


@pytest.fixture
def open_page(chromium):
    """Open a file. At the end of the test, the page must have made no other request and logged no message.

    Requests and messages are in `open_page.seen`.
    """
    seen, contexts = [], []

    def open_page(path, **options):
        context = chromium.new_context(**{"viewport": {"width": 1200, "height": 900}, **options})
        context.set_default_timeout(120_000)  # milliseconds; the machine may be busy
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: seen.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: seen.append(f"error: {error}"))
        page.on("request", lambda request: seen.append(request.url) if is_elsewhere(request.url) else None)
        page.goto(path.as_uri())
        return page

    open_page.seen = seen
    yield open_page
    for context in contexts:
        context.close()
    assert seen == []


def is_elsewhere(url: str) -> bool:
    return not url.startswith(("file:", "data:", "blob:"))


@pytest.fixture
def screenshot(tmp_path):
    """Return the path of a screenshot, in the folder AUDIOHEADS_SCREENSHOTS if it is set."""
    folder = Path(os.environ.get("AUDIOHEADS_SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    return lambda name: folder / f"{name}.png"
