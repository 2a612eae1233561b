"""Run other programs' code in separate processes, with the environment that their users have.

This program sets `OMP_WAIT_POLICY=PASSIVE` for its own processes, which would change the speed of other programs'
loops. A process is kept between calls, so that its imports and weights do not count.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any

OWN_VARIABLES = ("OMP_WAIT_POLICY",)


def peers_environment() -> dict[str, str]:
    """Return the environment without the variables that this program sets for itself."""
    return {name: value for name, value in os.environ.items() if name not in OWN_VARIABLES}


class Apart:
    """A function in another process that can be called from this one; use in a `with` block."""

    def __init__(self, make: Callable[..., Callable[[], Any]], *arguments: Any) -> None:
        """Start a process and call `make(*arguments)` there; both are pickled."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.peers.apart"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=peers_environment(),
        )
        self._ask((make, arguments))

    def __call__(self) -> Any:
        """Call the function and return its result.

        Raises:
            RuntimeError: The process failed; its output contains the error.
        """
        return self._ask(None)

    def __enter__(self) -> Apart:
        """Return the object itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the process."""
        self._process.communicate()

    def _ask(self, question: Any) -> Any:
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise RuntimeError("the process has no pipes")
        try:
            pickle.dump(question, stdin)
            stdin.flush()
            return pickle.load(stdout)
        except (OSError, EOFError) as error:
            raise RuntimeError("the other program's process ended; see its output above") from error


def main() -> None:
    """Run the process: read the function to create, then answer one request per call."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # keeps printed output apart from the answers
    make, arguments = pickle.load(sys.stdin.buffer)
    run = make(*arguments)
    answer = None
    while True:
        pickle.dump(answer, answers)
        answers.flush()
        try:
            pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        answer = run()


if __name__ == "__main__":
    main()
