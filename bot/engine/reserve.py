"""Addresses that are asked for at once, and become memory page by page where they are written.

What has never been written reads as zero and takes nothing, so a tensor may be as large as it
could ever have to be and never has to grow. Pages that are not needed any more can be given back.
Knows bytes, and not what they are for. Only for a CPU, and for systems that map memory so.
"""

from __future__ import annotations

import mmap
import sys
from collections.abc import Sequence

import torch
from torch import Tensor

NO_RESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000) if sys.platform == "linux" else 0
"""Linux is not to count against its memory what may never be written."""


class Reserve:
    """A stretch of zeros, to be cut into tensors one behind the other.

    Args:
        size: bytes.

    Raises:
        OSError: the system does not promise so much.
    """

    def __init__(self, size: int) -> None:
        private = getattr(mmap, "MAP_PRIVATE", 0) | getattr(mmap, "MAP_ANONYMOUS", 0)
        if not private:
            raise OSError("this system takes memory when it is asked for")
        size = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
        self._memory = mmap.mmap(-1, size, flags=private | NO_RESERVE)
        # A huge page would take two megabytes for the first token that is written to it.
        if (small := getattr(mmap, "MADV_NOHUGEPAGE", None)) is not None:
            self._memory.madvise(small)
        self._cut = 0
        self._start = torch.frombuffer(self._memory, dtype=torch.uint8).data_ptr()

    def take(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """The next tensor, all zeros.

        Raises:
            ValueError: it is larger than what is left.
        """
        count = torch.Size(shape).numel()
        whole = torch.frombuffer(self._memory, dtype=dtype, count=count, offset=self._cut)
        self._cut += whole.nbytes
        return whole.view(*shape)

    def give_back(self, part: Tensor) -> None:
        """Take the memory away from a contiguous part of a tensor, as far as it fills pages.

        What it held is lost; what lies in a page with anything else stays.
        """
        first = part.data_ptr() - self._start
        last = (first + part.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE
        first = -(-first // mmap.PAGESIZE) * mmap.PAGESIZE
        if first < last:
            self._memory.madvise(_FREE, first, last - first)


_FREE = getattr(mmap, "MADV_DONTNEED" if sys.platform == "linux" else "MADV_FREE", 0)
