"""What time it is, as far as this node can know: Atlas's own time, carried on by a clock that nothing can set.

The machine's wall clock decides nothing here. It may jump (a wrong time server, a hypervisor), run behind or be wrong for good, and a
node that believed it would drop customers who paid or keep those whose access ended. Atlas tells its time in each call; from there
on the kernel's boot-time clock counts, which no setting moves. What is known is therefore a lower bound of Atlas's time, and a client
past its end by that bound is past it for certain. When in doubt (the machine restarted, Atlas was never heard) the bound is low, and
clients stay.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

OFF_MS: Final = 60_000  # two clocks further apart than this are told to the operator
_KERNEL_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")


class Kept(NamedTuple):
    """What of the time is kept in the state file, for after a restart.

    `atlas_ms` was the time known (Unix milliseconds) when the boot-time clock of the boot `kernel_boot` stood at `steady_ms`; `sure`
    says that Atlas itself had told the time in that boot.
    """

    atlas_ms: int
    steady_ms: int
    kernel_boot: str
    sure: bool


@dataclass(frozen=True)
class Sources:
    """Where a clock reads: the wall clock and the steady one, in milliseconds, and the name of this boot of the machine ("" if unknown)."""

    wall_ms: Callable[[], int]
    steady_ms: Callable[[], int]
    kernel_boot: str


def machine(offset_path: Path | None = None) -> Sources:
    """The clocks of this machine; with a path its wall clock is moved by what that file says (`read_offset`), read anew each time."""
    return Sources(_Moved(offset_path) if offset_path else _wall_ms, _steady_ms, _kernel_boot())


class Clock:
    """Atlas's time on this node. Used by one thread."""

    def __init__(self, sources: Sources, kept: Kept | None = None) -> None:
        self._sources = sources
        self._behind_ms = 0
        self._base: tuple[int, int] | None = None  # Atlas's time, and the steady clock at that moment
        self._sure = False
        if kept is not None:
            same_boot = kept.kernel_boot == sources.kernel_boot != "" and kept.steady_ms <= sources.steady_ms()
            # After another boot the machine has been up for as long as its steady clock says, and off for an unknown time.
            self._base = (kept.atlas_ms, kept.steady_ms if same_boot else 0)
            self._sure = same_boot and kept.sure

    def hear(self, atlas_ms: int) -> None:
        """Atlas says that it is this late (Unix milliseconds). Time never goes back: a call that was held up proves nothing."""
        known = self.now_ms()
        self._behind_ms = 0 if known is None else max(0, known - atlas_ms)
        self._base = (max(atlas_ms, known or 0), self._sources.steady_ms())
        self._sure = True

    def now_ms(self) -> int | None:
        """A lower bound of Atlas's time, Unix milliseconds; None while Atlas has never told it."""
        if self._base is None:
            return None
        atlas_ms, steady_ms = self._base
        return atlas_ms + max(0, self._sources.steady_ms() - steady_ms)

    def kept(self) -> Kept | None:
        """What to keep for after a restart."""
        now = self.now_ms()
        return None if now is None else Kept(now, self._sources.steady_ms(), self._sources.kernel_boot, self._sure)

    def facts(self) -> dict[str, Any]:
        """As answers show it: the wall clock (`node_ms`), Atlas's time as known here, how far the first is ahead, and whether it is sure."""
        wall, now = self._sources.wall_ms(), self.now_ms()
        return {
            "node_ms": wall,
            "atlas_ms": now,
            "off_ms": wall - now if now is not None and self._sure else None,
            "sure": self._sure,
        }

    def problems(self) -> list[str]:
        """What an operator should know of it, in words."""
        if self.now_ms() is None:
            return ["Atlas has not told its time yet: no client is dropped at its end before it does"]
        if not self._sure:
            return [
                "the machine restarted and Atlas has not told its time since: clients may stay longer than their expiry and grace"
            ]
        found = []
        off_ms = self.facts()["off_ms"]
        if abs(off_ms) > OFF_MS:
            found.append(f"this machine's clock is {_far(off_ms)} Atlas's (expiries go by Atlas's)")
        if self._behind_ms > OFF_MS:
            found.append(f"Atlas's last call gave a time {self._behind_ms // 1000} s before one it gave earlier")
        return found


def read_offset(path: Path) -> int:
    """Milliseconds to move the wall clock by, from a file that holds one whole number.

    Raises:
        OSError: the file can't be read.
        ValueError: it holds something else.
    """
    return int(path.read_text(encoding="ascii"))


class _Moved:
    """The wall clock of a machine whose clock is wrong as a file says. A file half written counts as not changed yet."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset_ms = 0

    def __call__(self) -> int:
        with contextlib.suppress(OSError, ValueError):  # the last known one stays
            self._offset_ms = read_offset(self._path)
        return _wall_ms() + self._offset_ms


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


def _steady_ms() -> int:
    """Milliseconds since the machine booted, its sleep included where the kernel counts it."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime_ns(clock) // 1_000_000


def _kernel_boot() -> str:
    try:
        return _KERNEL_BOOT.read_text(encoding="ascii").strip()
    except OSError:
        return ""  # no such file on this system: each start counts as another boot


def _far(off_ms: int) -> str:
    return f"{abs(off_ms) // 1000} s {'ahead of' if off_ms > 0 else 'behind'}"
