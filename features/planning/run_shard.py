"""A share of a run, `i/n`: the blocks that one of n processes takes, wherever it runs and whenever it starts."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from features.errors import UserError


@dataclass(frozen=True)
class RunShard:
    """Every n-th block of a plan.

    Blocks hold clips of falling length, so taking every n-th gives everyone as much to do.

    Attributes:
        number: Which share, from 1.
        of: How many there are.
    """

    number: int
    of: int

    @classmethod
    def parse(cls, text: str, engine: str = "local") -> RunShard:
        """Read `2/8`.

        Raises:
            UserError: It is no such text, there is no such share, or the engine spreads the work by itself.
        """
        if engine != "local":
            raise UserError(f"--shard {text} and --engine {engine}: use one of them, each spreads the work by itself")
        found = re.fullmatch(r"\s*(\d+)\s*/\s*(\d+)\s*", text, re.ASCII)
        if not found or len(text) > 20 or not 1 <= int(found[1]) <= int(found[2]):
            raise UserError(f"--shard {text}: should be I/N with I from 1 to N, such as 1/8 for the first of eight")
        return cls(int(found[1]), int(found[2]))

    def takes(self, block: int) -> bool:
        """Whether a block is in this share."""
        return block % self.of == self.number - 1

    def owners(self, blocks: Iterable[int]) -> tuple[RunShard, ...]:
        """The shares of the same run that some blocks are in."""
        return tuple(RunShard(number, self.of) for number in sorted({block % self.of + 1 for block in blocks}))

    def __str__(self) -> str:
        """As on the command line."""
        return f"{self.number}/{self.of}"
