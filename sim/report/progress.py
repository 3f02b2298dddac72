"""A progress bar that shows itself only when a thing takes longer than two seconds."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

SHOW_AFTER_S = 2.0


class Progress:
    """A bar on stderr for one task; as a context it gives the function that is told how far the task is.

    Nothing is drawn before `show_after_s`, nor where the console is not a terminal; the bar is gone when the
    block ends.
    """

    def __init__(
        self, what: str = "simulating", console: Console | None = None, show_after_s: float = SHOW_AFTER_S
    ) -> None:
        self._console = console
        self._told: dict[str, Any] = {"description": what, "completed": 0, "total": None}
        self._bar: tuple[Any, Any] | None = None  # the bar and its task, made when it is shown
        self._timer = threading.Timer(show_after_s, self._show)
        self._timer.daemon = True

    def __enter__(self) -> Progress:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._timer.join()
        if self._bar is not None:
            self._bar[0].stop()

    def __call__(self, done: float, total: float | None = 1.0, what: str | None = None) -> None:
        """Say that `done` of `total` is done: a share when given alone; total None where nobody knows."""
        changed: dict[str, Any] = {} if what is None else {"description": what}
        self._told |= {"completed": done, "total": total, **changed}
        if self._bar is not None:
            bar, task = self._bar
            bar.update(task, completed=done, total=total, **changed)

    def _show(self) -> None:
        bar = _bar(self._console)
        self._bar = bar, bar.add_task(**self._told)
        bar.start()


def _bar(console: Console | None) -> Any:
    import rich.progress as rp

    from sim.report.safe import make_console

    shown_on = console or make_console(stderr=True)
    columns = (
        rp.TextColumn("{task.description}", markup=False),
        rp.BarColumn(),
        rp.TaskProgressColumn(),
        rp.TimeRemainingColumn(),
    )
    return rp.Progress(*columns, console=shown_on, transient=True, disable=not shown_on.is_terminal)
