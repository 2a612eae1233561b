"""A shard of a run, `i/n`: the blocks that one of n independent processes computes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from features.errors import UserError


@dataclass(frozen=True)
class RunShard:
    """Every n-th block of a plan.

    Clip lengths decrease from block to block, so taking every n-th block balances the work.

    Attributes:
        number: Number of the shard, from 1.
        of: Number of shards.
    """

    number: int
    of: int

    @classmethod
    def parse(cls, text: str, engine: str = "local") -> RunShard:
        """Parse text such as `2/8`.

        Raises:
            UserError: The text is malformed, the number is out of range, or the engine distributes the work already.
        """
        if engine != "local":
            raise UserError(f"--shard {text} and --engine {engine}: use only one of them, both distribute the work")
        found = re.fullmatch(r"\s*(\d+)\s*/\s*(\d+)\s*", text, re.ASCII)
        if not found or len(text) > 20 or not 1 <= int(found[1]) <= int(found[2]):
            raise UserError(f"--shard {text}: should be I/N with I from 1 to N, such as 1/8 for the first of eight")
        return cls(int(found[1]), int(found[2]))

    def takes(self, block: int) -> bool:
        """Whether a block belongs to this shard."""
        return block % self.of == self.number - 1

    def owners(self, blocks: Iterable[int]) -> tuple[RunShard, ...]:
        """Return the shards of the same run to which some blocks belong."""
        return tuple(RunShard(number, self.of) for number in sorted({block % self.of + 1 for block in blocks}))

    def __str__(self) -> str:
        """Return the form used on the command line, such as `2/8`."""
        return f"{self.number}/{self.of}"
