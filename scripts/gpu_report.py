"""What `scripts/gpu` has found so far: a file that is whole after every step, and the time that is left.

Needs the standard library alone.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

RESERVE_S = 4.0  # kept for writing and for going home
OVERDUE_S = 8.0  # past the budget: something hangs, and the process ends


class OutOfTimeError(Exception):
    """A step had to stop because its time was up."""


class Report:
    """The figures, written to `path` whole after each step."""

    told: ClassVar[list[str]] = []  # signals to end that have come

    def __init__(self, path: Path, budget_s: float, found: dict[str, Any]) -> None:
        self.path, self.budget_s, self.found = path, budget_s, found
        self.begun = time.monotonic()
        self._lock = threading.Lock()
        found |= {"complete": False, "budget_s": budget_s, "spent_s": 0.0, "steps": []}

    @property
    def left_s(self) -> float:
        """Seconds that steps may still take."""
        return self.budget_s - RESERVE_S - (time.monotonic() - self.begun)

    def until(self, most_s: float) -> float:
        """The instant (of time.monotonic) at which a step that may take so long has to stop."""
        return time.monotonic() + min(most_s, self.left_s)

    def step(self, name: str, do: Callable[[], Any], least_s: float = 0.0) -> Any:
        """Do a step, note how long it took or why it was not done, and write the file. Returns what the step did, None
        where it was skipped or failed: the figures of the other steps stand without it. Raises KeyboardInterrupt where the
        run was told to end.
        """
        if self.told:
            raise KeyboardInterrupt(self.told[0])
        if self.left_s < least_s:
            self._note(name, skipped=f"takes some {least_s:.0f} s, {max(0.0, self.left_s):.0f} s were left")
            return None
        clock = time.monotonic()
        try:
            made = do()
        except OutOfTimeError as error:
            self._note(name, seconds=time.monotonic() - clock, stopped=str(error))
            return None
        except Exception as error:  # a figure that cannot be had is no reason to lose the others
            line = (str(error).strip().splitlines() or [""])[0]
            self._note(name, seconds=time.monotonic() - clock, failed=f"{type(error).__name__}: {line}"[:500])
            return None
        self._note(name, seconds=time.monotonic() - clock)
        if self.told:
            raise KeyboardInterrupt(self.told[0])
        return made

    def _note(self, name: str, **words: Any) -> None:
        rounded = {key: round(x, 3) if isinstance(x, float) else x for key, x in words.items()}
        self.found["steps"].append({"step": name, **rounded})
        self.write()

    def write(self) -> None:
        """The whole file or none of it."""
        with self._lock:
            self.found["spent_s"] = round(time.monotonic() - self.begun, 3)
            self.path.parent.mkdir(parents=True, exist_ok=True)
            half = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")
            try:
                half.write_text(json.dumps(self.found, indent=1) + "\n", encoding="utf-8")
                half.replace(self.path)
            finally:
                half.unlink(missing_ok=True)

    def move(self, path: Path) -> None:
        """Write to another file from now on."""
        before, self.path = self.path, path
        self.write()
        if before != path:
            before.unlink(missing_ok=True)

    def close(self, stopped: str | None = None) -> None:
        """The last word: complete where every step was done, else what stopped it."""
        steps = self.found["steps"]
        self.found["complete"] = stopped is None and not any(
            key in step for step in steps for key in ("skipped", "stopped", "failed")
        )
        if stopped is not None:
            self.found["stopped"] = stopped
        self.write()

    def watch(self, end: Callable[[], None]) -> threading.Timer:
        """End the process where it overruns its budget: a device that hangs answers nobody."""

        def overdue() -> None:
            self.found["stopped"] = f"nothing came back within {self.budget_s:.0f} s"
            self.write()
            end()
            os._exit(124)

        timer = threading.Timer(max(0.0, self.budget_s + OVERDUE_S), overdue)
        timer.daemon = True
        timer.start()
        return timer
