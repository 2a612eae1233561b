"""The Ray cluster of a run: the one at `RAY_ADDRESS`, else a local one that ends with the run."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import logging
import os
import secrets
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from features.errors import RunError, UserError

OBJECT_STORE_BYTES = 80 << 20  # about Ray's minimum; clips and rows are exchanged through files, not through Ray
CONNECT_S = 10.0
SKIPPED_MESSAGES = "RAY_DEDUP_LOGS_SKIP_REGEX"
LONGEST_FOLDER = 40  # characters; Ray creates sockets in it, whose paths are limited to 107


def import_ray() -> ModuleType:
    """Import Ray, which takes a second.

    Imported this way, Ray prints no messages on stdout, such as when an actor dies. Ray reads this setting from an
    environment variable at import: a program that imported Ray before or set the variable keeps its own setting.

    Raises:
        UserError: Ray is not installed.
    """
    if importlib.util.find_spec("ray") is None:
        raise UserError("--engine ray: ray is not installed; pip install 'audioheads[ray]'")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no usage reports
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    with _messages_skipped():
        return importlib.import_module("ray")


def ray_address() -> str:
    """Return the address of the cluster to join; `local` to start one.

    Raises:
        UserError: `RAY_ADDRESS` is a Ray client address, which does not support streaming progress.
    """
    address = os.environ.get("RAY_ADDRESS") or "local"
    if "://" in address:
        raise UserError(f"RAY_ADDRESS={address}: should be auto or HOST:PORT of the cluster's head, without a protocol")
    return address


@contextlib.contextmanager
def ray_cluster() -> Iterator[ModuleType]:
    """Connect to a cluster; a local one is stopped afterwards and its files are removed.

    Yields:
        The module `ray`. If the process is already connected, that connection is used and kept.

    Raises:
        UserError: Ray is not installed, or the address cannot be used.
        RunError: The cluster does not answer, or a local one cannot be started.
    """
    ray = import_ray()
    if ray.is_initialized():
        yield ray
        return
    logging.getLogger("ray").setLevel(logging.ERROR)
    quiet: dict[str, Any] = {"configure_logging": False, "log_to_driver": False}
    address = ray_address()
    with contextlib.ExitStack() as stack:
        if address == "local":
            quiet |= {"include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
            quiet["_temp_dir"] = stack.enter_context(_short_folder())
            # Ray's ports are open; without this variable Ray would write a token to the home folder.
            os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        else:
            _check_reachable(address)
        stack.enter_context(_sigterm_kept())
        stack.callback(ray.shutdown)
        try:
            ray.init(address=address, **quiet)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            what = "no Ray cluster can be started here" if address == "local" else f"RAY_ADDRESS={address}: no cluster"
            raise RunError(f"{what} ({reason})") from error
        yield ray


def _check_reachable(address: str) -> None:
    """Raise `RunError` if nothing answers at HOST:PORT; Ray itself would retry for long and print messages."""
    host, _, port = address.rpartition(":")
    if host and port.isdecimal():
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S).close()
        except (OSError, OverflowError) as error:
            raise RunError(f"RAY_ADDRESS={address}: no cluster answers there ({error})") from error


@contextlib.contextmanager
def _short_folder() -> Iterator[str]:
    """Create a temporary folder with a short path for Ray's sockets and logs."""
    base = tempfile.gettempdir()
    folder = tempfile.mkdtemp(prefix="ray-", dir=base if len(base) <= LONGEST_FOLDER else "/tmp")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _messages_skipped() -> Iterator[None]:
    """Make Ray print no messages if it is imported in this block; processes started later do not inherit this."""
    if SKIPPED_MESSAGES in os.environ:
        yield
        return
    os.environ[SKIPPED_MESSAGES] = "."  # a regular expression of lines to skip; this matches all
    try:
        yield
    finally:
        del os.environ[SKIPPED_MESSAGES]


@contextlib.contextmanager
def _sigterm_kept() -> Iterator[None]:
    """Restore the SIGTERM handler, which Ray replaces."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def reason_of(error: BaseException) -> str:
    """Return the most informative line of one of Ray's long messages."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    named = [line for line in lines if "Error: " in line]
    return (named or lines or [type(error).__name__])[-1 if named else 0]
