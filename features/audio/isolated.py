"""Decode an audio file in a process of its own, so that a crash or a hang of its codec costs only this file."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from contextlib import suppress
from pathlib import Path
from typing import IO

import numpy as np

from features.audio.file import AudioInfo
from features.child_process import module_command, module_environment
from features.errors import AudioError, DecoderCrashError, DecoderKilledError

ANSWER_S = 600.0  # time to open a file or to decode one piece of it
HEADER_BYTES = 9  # of an answer: its kind and the length of its body
INFO, SAMPLES, FAILURE, PASSING_FAILURE = b"i", b"s", b"f", b"p"  # the last: without the file being the cause


class IsolatedFile:
    """An audio file that another process decodes; the samples are those of `features.audio.file.AudioFile`.

    Attributes:
        info: Its length and sample rate.
    """

    def __init__(self, path: Path) -> None:
        """Open the file in a new process.

        Raises:
            AudioError: As `AudioFile`.
            DecoderCrashError: The process crashed, or did not answer in time.
        """
        self._process = subprocess.Popen(
            module_command("features.audio.decoding_process", str(path)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=module_environment(),
            start_new_session=True,  # Ctrl-C is for the run, which then closes this file
        )
        try:
            self.info = AudioInfo(**json.loads(self._answer()))
        except BaseException:
            self.close()
            raise

    def read(self, start: int, stop: int) -> np.ndarray:
        """Mono samples start…stop-1 at the file's rate; each call starts where the last one stopped or later.

        Raises:
            AudioError: As `AudioFile.read`.
            DecoderCrashError: The process crashed, or did not answer in time.
        """
        try:
            _pipe(self._process.stdin).write(f"{start} {stop}\n".encode())
            _pipe(self._process.stdin).flush()
        except OSError:
            raise self._crash(timed_out=False) from None
        return np.frombuffer(self._answer(), np.float32)

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        _pipe(self._process.stdout).close()
        with suppress(OSError):  # a request that it did not read any more
            _pipe(self._process.stdin).close()

    def _answer(self) -> bytearray:
        """Return the body of the next answer."""
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            self._process.kill()

        timer = threading.Timer(ANSWER_S, expire)
        timer.daemon = True
        timer.start()
        try:
            header = self._receive(HEADER_BYTES)
            body = self._receive(int.from_bytes(header[1:], "little"))
        except EOFError:
            raise self._crash(timed_out=expired.is_set()) from None
        finally:
            timer.cancel()
        if header[:1] in (FAILURE, PASSING_FAILURE):
            failure = AudioError(body.decode())
            failure.lasting = header[:1] == FAILURE
            raise failure
        return body

    def _receive(self, n_bytes: int) -> bytearray:
        received = bytearray(n_bytes)
        left = memoryview(received)
        while left:
            count = _pipe(self._process.stdout).readinto(left)  # type: ignore[attr-defined]
            if not count:
                raise EOFError
            left = left[count:]
        return received

    def _crash(self, *, timed_out: bool) -> DecoderCrashError:
        """Return the reason for which the process ended."""
        code = self._process.wait()
        if timed_out:
            return DecoderCrashError(f"cannot be decoded (the decoder does not come back within {ANSWER_S:g} s)")
        if code == -signal.SIGKILL:
            return DecoderKilledError("cannot be decoded (the decoder was killed, perhaps for lack of memory)")
        name = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        return DecoderCrashError(f"cannot be decoded (the decoder crashes with {name})")


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None
    return stream
