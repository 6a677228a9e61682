"""How much memory this process could still have.

Of the machine that is what the system calls available, and in a container, or wherever else a
control group limits the process, no more than that limit leaves. Where a model lies on a graphics
card, it is the card's. Nothing is known here of what the memory is wanted for.
"""

from __future__ import annotations

from pathlib import Path

import psutil
import torch

CGROUPS, OWN_CGROUP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def free_memory(device: torch.device) -> int:
    """Bytes that can still be had where a model lies."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return min(
        [int(psutil.virtual_memory().available), *contained(CGROUPS, _told(OWN_CGROUP))]
    )


def contained(root: Path, own: str) -> list[int]:
    """Bytes that each limit around this process still leaves; none where nothing limits it.

    Args:
        root: where the system shows its control groups.
        own: in which ones this process is, a line each, as ``/proc/self/cgroup`` tells.
    """
    left = []
    for line in own.splitlines():
        _, kinds, path = line.split(":", 2)
        if kinds == "":
            top, limit, used, cached = root, "memory.max", "memory.current", "inactive_file"
        elif "memory" in kinds.split(","):
            top = root / "memory"
            limit, used = "memory.limit_in_bytes", "memory.usage_in_bytes"
            cached = "total_inactive_file"
        else:
            continue
        folder = top / path.strip("/")
        # A container is often shown its own group as the top, under the name it has outside.
        for group in {top, folder, *folder.parents}:
            most = _told(group / limit).strip()
            if most.isdigit():
                stat = dict(row.split(" ", 1) for row in _told(group / "memory.stat").splitlines())
                # What was read from files and not touched since gives way to what is needed.
                taken = int(_told(group / used) or 0) - int(stat.get(cached, 0))
                left.append(max(0, int(most) - taken))
    return left


def _told(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""
