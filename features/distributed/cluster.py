"""The Ray cluster a run uses: the one that `RAY_ADDRESS` names, else one on this machine that ends with the run."""

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

OBJECT_STORE_BYTES = 80 << 20  # about the least Ray takes; clips and rows go through files, not through Ray
CONNECT_S = 10.0
SKIPPED_MESSAGES = "RAY_DEDUP_LOGS_SKIP_REGEX"
LONGEST_FOLDER = 40  # characters; Ray makes sockets under it, whose paths may have 107


def import_ray() -> ModuleType:
    """Ray, which takes a second to import.

    Imported here, it prints no messages of its own on stdout, as it does when an actor dies. That setting is a variable
    that Ray reads when it is imported: a program that imported Ray before, or has set the variable, keeps its own.

    Raises:
        UserError: It is not installed.
    """
    if importlib.util.find_spec("ray") is None:
        raise UserError("--engine ray: ray is not installed; pip install 'audioheads[ray]'")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anyone
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    with _messages_skipped():
        return importlib.import_module("ray")


def ray_address() -> str:
    """Which cluster to join; `local`: none, one is started.

    Raises:
        UserError: `RAY_ADDRESS` is that of Ray's client, through which progress cannot come.
    """
    address = os.environ.get("RAY_ADDRESS") or "local"
    if "://" in address:
        raise UserError(f"RAY_ADDRESS={address}: should be auto or HOST:PORT of the cluster's head, without a protocol")
    return address


@contextlib.contextmanager
def ray_cluster() -> Iterator[ModuleType]:
    """Be connected to a cluster; one that is started here is gone afterwards, with its files and processes.

    Yields:
        Ray. Where the process was connected already, that connection is used and kept.

    Raises:
        UserError: Ray is not installed, or the address cannot be used.
        RunError: No cluster answers, or none can be started.
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
            # Without a token of its own Ray would write one into the home folder, and its ports are open.
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
    """Raise `RunError` where nobody answers at HOST:PORT; Ray would try for long, and print."""
    host, _, port = address.rpartition(":")
    if host and port.isdecimal():
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S).close()
        except (OSError, OverflowError) as error:
            raise RunError(f"RAY_ADDRESS={address}: no cluster answers there ({error})") from error


@contextlib.contextmanager
def _short_folder() -> Iterator[str]:
    """A folder of its own for Ray's sockets and logs, removed afterwards."""
    base = tempfile.gettempdir()
    folder = tempfile.mkdtemp(prefix="ray-", dir=base if len(base) <= LONGEST_FOLDER else "/tmp")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _messages_skipped() -> Iterator[None]:
    """Ray imported meanwhile prints none of its messages; processes started later do not inherit that."""
    if SKIPPED_MESSAGES in os.environ:
        yield
        return
    os.environ[SKIPPED_MESSAGES] = "."  # a pattern of the lines to skip: all
    try:
        yield
    finally:
        del os.environ[SKIPPED_MESSAGES]


@contextlib.contextmanager
def _sigterm_kept() -> Iterator[None]:
    """Ray puts its own handler in place; put back what was there."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def reason_of(error: BaseException) -> str:
    """The line of one of Ray's long messages that says most."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    named = [line for line in lines if "Error: " in line]
    return (named or lines or [type(error).__name__])[-1 if named else 0]
