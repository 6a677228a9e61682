"""Parts of a step in C, compiled where they run, for models in fp32 on a CPU.

PyTorch's own operations are made for much work each; a step of a few rows has little for each of
its hundreds, and its attention of single tokens reads memory at half the speed that the machine
has. So what lies between the matrix products is done by `kernels.c`, which a C compiler turns into
a library at the first start, beside the source or in the user's cache. It computes on the threads
that torch has (the same OpenMP, found among the libraries that are loaded). Where there is no
compiler, or the library does not give what torch gives, everything goes through torch.

It knows layouts of tensors and nothing of models, rows' contents or requests.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import logging
import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor
from torch.nn import functional

from bot.engine.operations import Angles, Operations

log = logging.getLogger(__name__)

SOURCE = Path(__file__).with_suffix(".c")
FLAGS = ("-O3", "-std=gnu11", "-fopenmp", "-fPIC")
PANEL = 16
"""Outputs that lie side by side in a panel of weights."""
PATIENCE = 60.0
"""Seconds that a compiler may take."""
TOLERANCE = 1e-4

_POINTER, _INTEGER, _REAL = ctypes.c_void_p, ctypes.c_int64, ctypes.c_float
_ARGUMENTS = {
    "attend": [_POINTER, _INTEGER] * 3
    + [_POINTER, _POINTER, _INTEGER, _INTEGER, _POINTER, _POINTER]
    + [_INTEGER] * 4
    + [_REAL],
    "rotate": [_POINTER, _INTEGER, _POINTER, _POINTER, _POINTER] + [_INTEGER] * 3,
    "gated": [_POINTER, _POINTER, _INTEGER, _INTEGER],
    "multiply": [_POINTER] * 3 + [_INTEGER] * 3,
    "multiply_panels": [_POINTER] * 3 + [_INTEGER] * 3,
    "adapt": [_POINTER] * 6 + [_INTEGER] * 5,
    "normalise": [_POINTER] * 4 + [_INTEGER, _INTEGER, _REAL],
}


class Kernels(Operations):
    """The functions of one library. All tensors are fp32 on the CPU, but for positions: int64.

    Args:
        library: what `kernels.c` was compiled to.

    Raises:
        OSError: it cannot be loaded.
    """

    def __init__(self, library: Path) -> None:
        loaded = ctypes.CDLL(str(library))
        for name, arguments in _ARGUMENTS.items():
            function = getattr(loaded, name)
            function.argtypes, function.restype = arguments, None
        self._attend, self._rotate = loaded.attend, loaded.rotate
        self._gated, self._normalise = loaded.gated, loaded.normalise
        self._multiply, self._adapt = loaded.multiply, loaded.adapt
        self._multiply_panels = loaded.multiply_panels
        self.wide = torch.backends.cpu.get_cpu_capability() == "AVX512"
        """Whether there are registers enough for `multiply_panels` to be fast."""

    def attend(
        self, q: Tensor, new: tuple[Tensor, Tensor], kept: tuple[Tensor, Tensor],
        positions: Tensor, scale: float,
    ) -> Tensor:  # fmt: skip
        """Write the new token of every row, and attend to it and all that came before.

        Args:
            q: ``[rows, heads, width]``.
            new: keys and values, ``[rows, kv_heads, width]``.
            kept: ``[at least rows, kv_heads, capacity, width]``, with the same strides.
            positions: of the new tokens, ``[rows]``.

        Returns:
            ``[rows, heads, width]``.
        """
        q, new_k, new_v = map(_in_runs, (q, *new))
        keys, values = kept
        rows, heads, width = q.shape
        kv_heads = keys.shape[1]
        found = torch.empty(rows, heads, width, dtype=torch.float32)
        self._attend(
            q.data_ptr(), q.stride(0), new_k.data_ptr(), new_k.stride(0), new_v.data_ptr(),
            new_v.stride(0), keys.data_ptr(), values.data_ptr(), keys.stride(0), keys.stride(1),
            positions.data_ptr(), found.data_ptr(), rows, kv_heads, heads // kv_heads, width,
            scale,
        )  # fmt: skip
        return found

    def multiply(self, x: Tensor, weight: Tensor) -> Tensor:
        """``[n, in]`` by the rows of ``[out, in]``: ``[n, out]``; fast for a few rows."""
        (rows, inner), outer = x.shape, len(weight)
        found = torch.empty(rows, outer, dtype=torch.float32)
        self._multiply(x.data_ptr(), weight.data_ptr(), found.data_ptr(), rows, inner, outer)
        return found

    def panels(self, weight: Tensor) -> Tensor:
        """A weight ``[out, in]`` for `multiply_panels`: ``[out / 16, in, 16]``, rounded up."""
        outer, inner = weight.shape
        padded = functional.pad(weight, (0, 0, 0, -outer % PANEL))
        return padded.view(-1, PANEL, inner).transpose(1, 2).contiguous()

    def multiply_panels(self, x: Tensor, panels: Tensor, outer: int) -> Tensor:
        """``[n, in]`` by a weight in panels: ``[n, out]``; for any number of rows."""
        rows, inner = x.shape
        x = x.contiguous()
        found = torch.empty(rows, outer, dtype=torch.float32)
        self._multiply_panels(
            x.data_ptr(), panels.data_ptr(), found.data_ptr(), rows, inner, outer
        )  # fmt: skip
        return found

    def adapters(self, a: Tensor, b: Tensor, ends: Tensor) -> Adapters:
        """Adapters as they are added to a few rows; see there."""
        return Adapters(self._adapt, a, b, ends)

    def angles(self, cosine: Tensor, sine: Tensor, positions: Tensor) -> Angles:
        """See `Operations.angles`: the whole tables, and where to look."""
        return cosine, sine, positions

    def rotate(self, x: Tensor, angles: Angles) -> None:
        """See `Operations.rotate`; each token's heads lie in one run."""
        cosine, sine, positions = angles
        tokens, heads, width = x.shape
        self._rotate(
            x.data_ptr(), x.stride(0), cosine.data_ptr(), sine.data_ptr(), positions.data_ptr(),
            tokens, heads, width,
        )  # fmt: skip

    def gated(self, x: Tensor) -> Tensor:
        """See `Operations.gated`."""
        rows, both = x.shape
        found = torch.empty(rows, both // 2, dtype=torch.float32)
        self._gated(x.data_ptr(), found.data_ptr(), rows, both // 2)
        return found

    def normalise(
        self, x: Tensor, weight: Tensor, least: float, added: Tensor | None = None
    ) -> Tensor:
        """See `Operations.normalise`; what is added to lies in one run."""
        found = torch.empty(x.shape, dtype=torch.float32)
        flat, width = x.contiguous(), x.shape[-1]
        self._normalise(
            flat.data_ptr(), None if added is None else added.data_ptr(), weight.data_ptr(),
            found.data_ptr(), flat.numel() // width, width, least,
        )  # fmt: skip
        return found


class Adapters:
    """What each row's own adapter says, added to outputs in place; fast for a few rows.

    Args:
        adapt: the function of the library.
        a: of modules that read the same input and whose outputs lie side by side,
            ``[slots, modules * rank, in]``.
        b: ``[slots, rank, out]``.
        ends: where the outputs of each module end, ``[modules]``.
    """

    def __init__(self, adapt: Callable[..., None], a: Tensor, b: Tensor, ends: Tensor) -> None:
        self._adapt = adapt
        self._held = a, b, ends
        # Looked up once: half of the time of a call goes by in Python.
        self._a, self._b, self._ends = (one.data_ptr() for one in self._held)
        self._sizes = a.shape[2], b.shape[2], b.shape[1], len(ends)

    def add(self, x: Tensor, slots: Tensor, output: Tensor) -> None:
        """Add to ``[n, out]`` by inputs ``[n, in]`` and slots ``[n]``, below 0 for none."""
        x = x.contiguous()
        self._adapt(
            x.data_ptr(), self._a, self._b, slots.data_ptr(), output.data_ptr(), self._ends,
            len(x), *self._sizes,
        )  # fmt: skip


def _in_runs(x: Tensor) -> Tensor:
    """``[rows, heads, width]`` of which each row lies in one run of memory."""
    return x if x.stride()[1:] == (x.shape[2], 1) else x.contiguous()


@functools.cache
def kernels() -> Kernels | None:
    """The library, compiled if it has not been; None where it cannot be had. Takes a second."""
    try:
        found = Kernels(_library())
        if agree_with_torch(found):
            return found
        log.warning("the compiled kernels do not give what torch gives, and are not used")
    except (OSError, AttributeError, subprocess.SubprocessError) as error:
        log.info("no compiled kernels: %s; steps of many replies take longer without", error)
    return None


def _library() -> Path:
    """Where the compiled source lies.

    Raises:
        OSError, subprocess.SubprocessError: it cannot be compiled here.
    """
    source = SOURCE.read_bytes()
    # Another torch may come with another OpenMP.
    how = " ".join((*FLAGS, platform.machine(), torch.__version__))
    digest = hashlib.sha256(source + how.encode())
    name = f"kernels-{digest.hexdigest()[:16]}.so"
    places = _places()
    there = next((place / name for place in places if (place / name).is_file()), None)
    if there is not None:
        return there
    compiler = next(filter(None, map(shutil.which, (os.environ.get("CC", ""), "cc", "gcc"))), None)
    if compiler is None:
        raise OSError("there is no C compiler (install gcc)")
    place = next(filter(_writable, places), None)
    if place is None:
        raise OSError(f"none of {', '.join(map(str, places))} can be written")
    with TemporaryDirectory(dir=place) as folder:
        made = Path(folder) / name
        # Without -fopenmp, which would name another OpenMP than the one that torch computes with.
        _run(compiler, *FLAGS, "-c", str(SOURCE), "-o", f"{made}.o")
        _run(compiler, "-shared", "-o", str(made), f"{made}.o", _openmp(), "-lm")
        made.replace(place / name)
    return place / name


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    if done.returncode:
        raise OSError(f"{command[0]} failed: {done.stderr.strip()[-300:]}")


def _places() -> Sequence[Path]:
    """Beside the compiled Python of this module; where that cannot be written, in the cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return SOURCE.parent / "__pycache__", cache / "rapport"


def _writable(place: Path) -> bool:
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(place, os.W_OK)


def _openmp() -> str:
    """The OpenMP library that torch has loaded.

    Raises:
        OSError: there is none, or more than one, or it cannot be told.
    """
    maps = Path("/proc/self/maps").read_text()
    found = {line.split()[-1] for line in maps.splitlines() if "gomp" in line.rpartition("/")[2]}
    if len(found) != 1:
        raise OSError(f"torch computes with no OpenMP of GCC's alone ({len(found)} are loaded)")
    return found.pop()


@torch.inference_mode()
def agree_with_torch(kernels: Kernels) -> bool:
    """Whether each kernel gives what operations of torch give."""
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    checks = []
    for heads, kv_heads, width in ((4, 4, 64), (6, 2, 64), (2, 1, 128), (2, 2, 24)):
        q, new = random(3, heads, width), (random(3, kv_heads, width), random(3, kv_heads, width))
        kept = random(4, kv_heads, 150, width), random(4, kv_heads, 150, width)
        positions = torch.tensor([149, 0, 64])
        found = kernels.attend(q, new, kept, positions, 0.2)
        for row, at in enumerate(positions.tolist()):
            written = [torch.equal(k[row, :, at], n[row]) for k, n in zip(kept, new, strict=True)]
            keys, values = (one[row : row + 1, :, : at + 1] for one in kept)
            plain = functional.scaled_dot_product_attention(
                q[row : row + 1, :, None], keys, values, scale=0.2, enable_gqa=True
            )
            checks.append(all(written) and _same(found[row], plain[0, :, 0]))
    for inner, outer in ((64, 50), (40, 7)):
        x, weight = random(3, inner), random(outer, inner)
        checks.append(_same(kernels.multiply(x, weight), x @ weight.T))
        in_panels = kernels.panels(weight)
        for rows in (1, 3, 15):
            x = random(rows, inner)
            found = kernels.multiply_panels(x, in_panels, outer)
            checks.append(_same(found, x @ weight.T))
    x, a, b = random(3, 24), random(2, 12, 24), random(2, 6, 25)
    slots, ends, output = torch.tensor([1, -1, 0]), torch.tensor([11, 25]), random(3, 25)
    plain = output.clone()
    kernels.adapters(a, b, ends).add(x, slots, output)
    for row, slot in ((0, 1), (2, 0)):
        low = a[slot] @ x[row]
        plain[row, :11] += low[:6] @ b[slot, :, :11]
        plain[row, 11:] += low[6:] @ b[slot, :, 11:]
    checks.append(_same(output, plain))
    torchs, positions = Operations(), torch.tensor([4, 0, 2])
    x, tables = random(3, 2, 32), (random(5, 32), random(5, 32))
    turned = x.clone()
    torchs.rotate(turned, torchs.angles(*tables, positions))
    kernels.rotate(x, kernels.angles(*tables, positions))
    checks.append(_same(x, turned))
    both = random(3, 80) * 8
    checks.append(_same(kernels.gated(both), torchs.gated(both)))
    x, weight = random(3, 40), random(40)
    for added in (None, random(3, 40)):
        one, other = x.clone(), x.clone()
        found = kernels.normalise(one, weight, 1e-5, added)
        plain = torchs.normalise(other, weight, 1e-5, added)
        checks += [_same(found, plain), _same(one, other)]
    return all(checks)


def _same(found: Tensor, plain: Tensor) -> bool:
    return torch.allclose(found, plain, rtol=TOLERANCE, atol=TOLERANCE)
