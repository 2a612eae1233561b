"""Find a Chromium for the tests. `python -m tests.browser.browsers` installs what they need."""

import importlib.util
import os
import shutil
import subprocess
import sys

from tests.paths import ROOT

VARIABLE = "AUDIOHEADS_BROWSER"
PACKAGES = {"playwright": "playwright", "axe_playwright_python": "axe-playwright-python"}  # module: distribution
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge")


def find_browser() -> str | None:
    """Return the browser in AUDIOHEADS_BROWSER, otherwise the first Chromium on the PATH."""
    named = os.environ.get(VARIABLE)
    if named:
        return shutil.which(named)
    return next(filter(None, map(shutil.which, NAMES)), None)


def why_not() -> str | None:
    """Return why the tests cannot run and how to fix it; None if they can."""
    if absent := missing():
        return f"{' and '.join(absent)} not installed (make test-browser installs them)"
    if find_browser() is None:
        named = os.environ.get(VARIABLE)
        return (
            f"{VARIABLE}={named} is not a program"
            if named
            else f"no Chromium found (make test-browser, or {VARIABLE}=)"
        )
    return None


def missing() -> list[str]:
    """Return the distributions that the tests need and that are not installed."""
    return [name for module, name in PACKAGES.items() if importlib.util.find_spec(module) is None]


def prepare() -> None:
    """Install what is missing of the Python packages and, on Debian, the system's Chromium."""
    if missing():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "-c", "constraints.txt", "-e", ".[browser]"], cwd=ROOT, check=True)
        importlib.invalidate_caches()
    apt, sudo = shutil.which("apt-get"), shutil.which("sudo")
    may_install = apt and (os.geteuid() == 0 or sudo)
    if find_browser() is None and VARIABLE not in os.environ and may_install:
        before = [] if os.geteuid() == 0 else [str(sudo), "-n"]
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for what in (["update", "-q"], ["install", "-q", "-y", "--no-install-recommends", "chromium"]):
            subprocess.run([*before, str(apt), *what], env=environment, check=False, stdout=subprocess.DEVNULL)
    if reason := why_not():
        sys.exit(f"test-browser: {reason.partition(' (')[0]}; install Chromium or set {VARIABLE}=/path/to/chromium")


if __name__ == "__main__":
    prepare()
