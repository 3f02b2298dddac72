"""A process beside this one that runs chunks of a sweep: making requests and summing up hold the interpreter's lock, and
every process has its own.

A helper is a Python of its own that imports nothing but the simulator: the script that called is not run again, as
multiprocessing would. It ends when nobody is there to ask it, so it never outlives the one that started it by more than a
chunk.
"""

from __future__ import annotations

import subprocess
import sys
import traceback
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

from sim.errors import InputError
from sim.sweeps.chunks import Done, run_chunk
from sim.sweeps.jobs import Jobs, Outlines

ROOT = str(Path(__file__).resolve().parents[2])
PROGRAM = "import sys; sys.path.insert(0, sys.argv[1]); from sim.sweeps.helper import serve; serve(int(sys.argv[2]))"
STDERR = 2


class HelperError(InputError):
    """A helper ended before its chunk did."""


class Helper:
    """A helper as the one that started it sees it; OSError where no process can be started."""

    def __init__(self, jobs: Jobs, engine: str) -> None:
        self._line, theirs = Pipe()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, ROOT, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=STDERR,  # what users' policies print is no part of a table
                process_group=0,  # an interrupt at the terminal is for the one who knows which runs are done
            )
        self._send((jobs, engine))

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def run(self, first: int, end: int) -> list[Done]:
        """The finished jobs first … end − 1; raises what running them raised."""
        self._send((first, end))
        try:
            answer = self._line.recv()
        except (EOFError, OSError):
            raise self._gone() from None
        if isinstance(answer, Exception):
            raise answer
        return list(answer)

    def close(self) -> None:
        """End it, whatever it is doing."""
        self._process.kill()
        self._process.wait()
        self._line.close()

    def _send(self, what: object) -> None:
        try:
            self._line.send(what)
        except OSError:
            raise self._gone() from None

    def _gone(self) -> HelperError:
        return HelperError(
            f"engine.threads: a process of the sweep ended with status {self._process.wait()}, stopped from outside or for "
            "lack of memory; with engine.threads=1 there is only one"
        )


def serve(handle: int) -> None:
    """Be a helper at this end of a line: run what is asked for until nobody asks any more."""
    with Connection(handle) as line:
        try:
            jobs, engine = line.recv()
            outlines = Outlines()
            while True:
                first, end = line.recv()
                line.send(_answer(jobs, first, end, engine, outlines))
        except (EOFError, OSError):
            return


def _answer(jobs: Jobs, first: int, end: int, engine: str, outlines: Outlines) -> list[Done] | Exception:
    try:
        return run_chunk(jobs, first, end, engine, outlines)
    except InputError as error:
        return error
    except Exception:
        return RuntimeError(f"in a process of the sweep:\n{traceback.format_exc()}")
