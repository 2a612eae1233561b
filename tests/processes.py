"""Processes that start at once: forked from a server that has imported torch and the pipeline already.

Python with the pipeline takes seconds to start. Tests that kill a process, limit it or read all that it prints take
one from here. What they run in it is a function that can be pickled: one at the top of a module that can be imported.
"""

import atexit
import contextlib
import ctypes
import multiprocessing
import multiprocessing.process
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

NO_MOUNTS = 77  # the exit code where `small_disk` may not mount
_PATIENCE_S = 300
_NEW_MOUNTS, _NEW_USERS = 0x20000, 0x10000000  # of linux/sched.h
_RECURSIVE, _PRIVATE = 0x4000, 0x40000  # of linux/mount.h

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.warm"])
_started: weakref.WeakSet[multiprocessing.process.BaseProcess] = weakref.WeakSet()


@atexit.register
def _end_all() -> None:
    """Kill what a failed test left; multiprocessing would wait for it."""
    for process in list(_started):
        if process.is_alive():
            process.kill()


class Child:
    """A function in a process of its own.

    Attributes:
        pid: The process's number.
    """

    def __init__(
        self, function: Callable[..., object], *arguments: Any, cwd: Path | None = None, **environment: str
    ) -> None:
        """Start it.

        Args:
            function: What to run.
            arguments: For `function`.
            cwd: The folder to run it in, by default this process's.
            environment: Variables on top of this process's.
        """
        self._printed = Path(tempfile.mkdtemp(prefix="child-"))
        weakref.finalize(self, shutil.rmtree, self._printed, ignore_errors=True)
        for name in ("stdout", "stderr"):
            (self._printed / name).touch()  # it may be killed before it does so
        self._command = [function.__name__, *map(str, arguments)]
        call = (self._printed, cwd or Path.cwd(), {**os.environ, **environment}, function, arguments)
        self._process = _context.Process(target=_run, args=call)
        self._process.start()
        assert self._process.pid is not None
        _started.add(self._process)
        self.pid: int = self._process.pid

    def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal if the process has not ended yet, and wait for its end."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, how)
        self.wait()

    def wait(self) -> subprocess.CompletedProcess[str]:
        """Wait for its end; gives its exit code (negative: the signal that ended it) and what it printed."""
        self._process.join(_PATIENCE_S)
        code = self._process.exitcode
        assert code is not None, f"{self._command} is still running"
        texts = [(self._printed / name).read_text() for name in ("stdout", "stderr")]
        return subprocess.CompletedProcess(self._command, code, *texts)


def run(
    function: Callable[..., object], *arguments: Any, cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a function in a process of its own, from start to end. Arguments are those of `Child`."""
    return Child(function, *arguments, cwd=cwd, **environment).wait()


def audioheads(*arguments: object, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    return run(_audioheads, [str(argument) for argument in arguments], cwd=cwd, **environment)


def _audioheads(arguments: list[str]) -> None:
    from pipeline.cli.app import main

    main(arguments)


def _run(
    printed: Path, cwd: Path, environment: Mapping[str, str], function: Callable[..., object], arguments: tuple
) -> None:
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        file = os.open(printed / name, os.O_WRONLY)
        os.dup2(file, descriptor)
        os.close(file)
    # The server's own are of another file, perhaps with something in their buffers.
    sys.stdout, sys.stderr = (os.fdopen(descriptor, "w", closefd=False, encoding="utf-8") for descriptor in (1, 2))
    sys.__stdout__, sys.__stderr__ = sys.stdout, sys.stderr
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:0] = [part for part in environment.get("PYTHONPATH", "").split(os.pathsep) if part not in sys.path]
    os.chdir(cwd)
    function(*arguments)


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """Mount a file system of `size` (such as 450k) on an empty folder, for this process alone.

    At the end its files are copied into the folder, so that others see them. Only for a child process, which sees no
    mounts of others from then on, and which exits with `NO_MOUNTS` where the system does not let it.
    """
    libc = ctypes.CDLL(None, use_errno=True)

    def call(name: str, *arguments: object) -> None:
        if getattr(libc, name)(*arguments) != 0:
            raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")

    user, group = os.getuid(), os.getgid()
    try:
        call("unshare", _NEW_MOUNTS | _NEW_USERS)
        for name, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
            Path("/proc/self", name).write_text(text)
        call("mount", b"none", b"/", None, _RECURSIVE | _PRIVATE, None)
        call("mount", b"none", os.fsencode(folder), b"tmpfs", 0, f"size={size}".encode())
    except (OSError, AttributeError) as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(NO_MOUNTS)
    try:
        yield
    finally:
        kept = Path(tempfile.mkdtemp())
        shutil.copytree(folder, kept, dirs_exist_ok=True)
        call("umount2", os.fsencode(folder), 2)  # at once, and freed when nothing uses it any more
        shutil.copytree(kept, folder, dirs_exist_ok=True)
        shutil.rmtree(kept)
