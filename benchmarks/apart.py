"""Peers in processes of their own, in the environment that their users have.

This program's processes have `OMP_WAIT_POLICY=PASSIVE`, which it sets for itself and which changes how fast others'
loops run; theirs have not. A process stays between calls, so that its imports and weights are not in the time.
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
    """The environment without what this program sets for itself."""
    return {name: value for name, value in os.environ.items() if name not in OWN_VARIABLES}


class Apart:
    """A function made in another process, called from here; use in a `with` block."""

    def __init__(self, make: Callable[..., Callable[[], Any]], *arguments: Any) -> None:
        """Have `make(*arguments)` called there; both travel as pickles."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.apart"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=peers_environment(),
        )
        self._ask((make, arguments))

    def __call__(self) -> Any:
        """What the function gives.

        Raises:
            RuntimeError: It ended with an error, which stands in its output.
        """
        return self._ask(None)

    def __enter__(self) -> Apart:
        """As it is."""
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
            raise RuntimeError("a peer's process ended; see its output above") from error


def main() -> None:
    """The process: what to make comes first, then a question for each call."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever the peer prints is no answer
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
