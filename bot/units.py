"""Sizes of memory as people read them, the same in the log, in a chat and on the pages.

In powers of 1024, as the system itself counts. Knows nothing of what is measured.
"""

from __future__ import annotations


def size(count: int) -> str:
    """Bytes, in the unit that fits."""
    number = float(count)
    for unit in ("B", "KiB", "MiB"):
        if number < 1024:
            return f"{number:.0f} {unit}"
        number /= 1024
    return f"{number:.1f} GiB"
