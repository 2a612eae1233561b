"""Minibatches of clips with all their frames, which are read from the cache when a network asks for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from heads.batched.frame_blocks import FrameBlock

MAX_FRAMES = 2**15  # frames in one padded part of a batch; longer clips are processed in parts
MAX_NUMBERS = 2**25  # numbers in these frames


class Piece(NamedTuple):
    """Frames start…stop-1 of the clip at position `at` of the batch."""

    at: int
    start: int
    stop: int


def pack(lengths: Sequence[int], max_frames: int) -> list[list[Piece]]:
    """Divide a batch into parts with a bounded number of frames, each padded to its longest piece.

    Args:
        lengths: Number of frames of each clip.
        max_frames: Maximum number of frames of a part, including padding; longer clips are cut.

    Returns:
        The parts; each is a list of pieces, longest first.
    """
    pieces = [
        Piece(at, start, min(start + max_frames, length))
        for at, length in enumerate(lengths)
        for start in range(0, length, max_frames)
    ]
    pieces.sort(key=lambda piece: piece.start - piece.stop)  # stable sort: ties keep their order
    parts: list[list[Piece]] = []
    for piece in pieces:
        longest = parts[-1][0].stop - parts[-1][0].start if parts else max_frames
        if not parts or (len(parts[-1]) + 1) * longest > max_frames:
            parts.append([])
        parts[-1].append(piece)
    return parts


def frames_at_once(numbers: int) -> int:
    """Return the frames in one padded part of a batch, given the numbers in a frame."""
    return max(1, min(MAX_FRAMES, MAX_NUMBERS // numbers))


class Part(NamedTuple):
    """Pieces of clips, padded to the longest.

    Attributes:
        values: Standardised frames, (1, P, F, D) float32, or (L, P, F, D) with all layers; zero beyond each piece.
        padding: Whether a frame is padding, (P, F) bool; None without padding.
        clip: Position of each piece's clip in the batch, (P,) int64.
    """

    values: Tensor
    padding: Tensor | None
    clip: Tensor


@dataclass(frozen=True)
class Draw:
    """The clips of one step of the networks that read the same ones.

    Attributes:
        fits: Positions of these networks in their stack; a slice, which copies nothing, if they are adjacent.
        block: The block of the clips.
        rows: The clips, which are the first of the batch, (n,).
        device: Device of the frames.
    """

    fits: slice | list[int]
    block: FrameBlock
    rows: np.ndarray
    device: torch.device

    @cached_property
    def _packed(self) -> list[list[Piece]]:
        return pack(self.block.frames.lengths(self.rows).tolist(), frames_at_once(self.block.mean.size))

    def __len__(self) -> int:
        """Number of parts."""
        return len(self._packed)

    def __iter__(self) -> Iterator[Part]:
        """Read the parts, one after another."""
        return map(self._read, self._packed)

    def _read(self, pieces: Sequence[Piece]) -> Part:
        lengths = torch.tensor([piece.stop - piece.start for piece in pieces])
        longest = int(lengths[0])
        mean = self.block.mean
        values = torch.empty(*mean.shape[:-1], len(pieces), longest, mean.shape[-1])
        for number, piece in enumerate(pieces):
            length = piece.stop - piece.start
            self.block.write(values[..., number, :length, :].numpy(), int(self.rows[piece.at]), piece.start, piece.stop)
            values[..., number, length:, :] = 0
        padding = torch.arange(longest) >= lengths[:, None] if lengths[-1] < longest else None
        clip = torch.tensor([piece.at for piece in pieces])
        return Part(
            (values if mean.ndim == 2 else values[None]).to(self.device),
            None if padding is None else padding.to(self.device),
            clip.to(self.device),
        )


@dataclass(frozen=True)
class FrameBatch:
    """Some rows of blocks.

    Attributes:
        store: The blocks.
        positions: Position of each row, (M, B) int64, or (B,) for all networks.
    """

    store: FrameStore
    positions: np.ndarray

    def __len__(self) -> int:
        """Return B."""
        return self.positions.shape[-1]

    def draws(self, share: Tensor | None) -> Iterator[Draw]:
        """Yield the draws, without filler rows and without networks that have no rows.

        Args:
            share: Weight of each row, (M, B, 1), which is 0 for filler rows; they follow the others. None: no fillers.
        """
        if share is None:
            yield self.store.draw(slice(None), self.positions)
            return
        counts = (share[..., 0] > 0).sum(1).tolist()
        same: dict[bytes, list[int]] = {}
        for fit, count in enumerate(counts):
            if count:
                same.setdefault(self.positions[fit, :count].tobytes(), []).append(fit)
        for fits in same.values():
            adjacent = fits[-1] - fits[0] + 1 == len(fits)
            own = slice(fits[0], fits[-1] + 1) if adjacent else fits
            yield self.store.draw(own, self.positions[fits[0], : counts[fits[0]]])


class FrameStore:
    """Frames of all blocks, see `heads.batched.stepped.row_store.RowStore`. It holds no frames."""

    def __init__(self, blocks: Sequence[FrameBlock], device: torch.device) -> None:
        """Number the rows of all blocks, which are read to `device`."""
        self._blocks, self._device = blocks, device
        self._rows = [np.concatenate([block.train, block.valid]) for block in blocks]
        self._first = np.array(list(accumulate(map(len, blocks), initial=0)))

    def gather(self, rows: Tensor) -> FrameBatch:
        """See `RowStore.gather`."""
        return FrameBatch(self, rows.cpu().numpy())

    def read(self, start: int, stop: int) -> FrameBatch:
        """See `RowStore.read`."""
        return FrameBatch(self, np.arange(start, stop))

    def close(self) -> None:
        """Do nothing: there is nothing to free."""

    def draw(self, fits: slice | list[int], positions: np.ndarray) -> Draw:
        """Return rows of one block."""
        number = int(np.searchsorted(self._first, positions[0], side="right")) - 1
        rows = self._rows[number][positions - self._first[number]]
        return Draw(fits, self._blocks[number], rows, self._device)
