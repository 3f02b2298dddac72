"""A process that runs chunks of a sweep, as the one that started it sees it."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import NamedTuple

from sim.errors import InputError
from sim.sweeps.beside import Beside
from sim.sweeps.chunks import Done, run_chunk
from sim.sweeps.jobs import Jobs, Outlines


class HelperError(InputError):
    """A helper ended before its chunk did."""


class Chunks(NamedTuple):
    """What a helper is told first."""

    jobs: Jobs
    engine: str

    def worker(self) -> Callable[[tuple[int, int]], list[Done] | Exception]:
        """Who runs chunks in a process; what goes wrong is the answer."""
        outlines = Outlines()

        def answer(chunk: tuple[int, int]) -> list[Done] | Exception:
            try:
                return run_chunk(self.jobs, *chunk, self.engine, outlines)
            except InputError as error:
                return error
            except Exception:
                return RuntimeError(f"in a process of the sweep:\n{traceback.format_exc()}")

        return answer


class Helper(Beside):
    """A helper; OSError where no process can be started."""

    def __init__(self, jobs: Jobs, engine: str) -> None:
        super().__init__(Chunks(jobs, engine))

    def run(self, first: int, end: int) -> list[Done]:
        """The finished jobs first … end − 1; raises what running them raised."""
        self.ask((first, end))
        answer = self.answer()
        if answer is None:
            raise HelperError(f"engine.threads: {self.why_gone()}; with engine.threads=1 there is only one")
        if isinstance(answer, Exception):
            raise answer
        return list(answer)
