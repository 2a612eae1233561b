"""The process behind `features.audio.isolated`: decodes the file of its argument as its parent asks.

    python -m features.audio.decoding_process FILE

It reads lines `START STOP` from stdin and answers each on stdout with mono float32 samples. It ends with its parent.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import IO

from features.audio.file import AudioFile
from features.audio.isolated import FAILURE, INFO, PASSING_FAILURE, SAMPLES
from features.errors import AudioError, decoder_error


def main() -> None:
    """Open the file and answer requests until stdin ends."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing that a library prints gets between the answers
    try:
        file = AudioFile(Path(sys.argv[1]))
        _answer(answers, INFO, json.dumps(dataclasses.asdict(file.info)).encode())
        for line in sys.stdin.buffer:
            start, stop = map(int, line.split())
            _answer(answers, SAMPLES, file.read(start, stop).tobytes())
    except AudioError as error:
        _answer_failure(answers, error)
    except BrokenPipeError:  # the parent is gone
        os._exit(0)
    except Exception as error:
        _answer_failure(answers, decoder_error(error))


def _answer_failure(answers: IO[bytes], error: AudioError) -> None:
    kind = FAILURE if error.lasting else PASSING_FAILURE
    _answer(answers, kind, str(error).encode("utf-8", "backslashreplace"))


def _answer(answers: IO[bytes], kind: bytes, body: bytes) -> None:
    answers.write(kind + len(body).to_bytes(8, "little"))
    answers.write(body)
    answers.flush()


if __name__ == "__main__":
    main()
