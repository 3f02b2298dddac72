"""A process beside this one that runs chunks of a sweep: making requests and summing up hold the interpreter's lock, and
every process has its own.

A helper is a Python of its own that imports nothing but the simulator: the script that called is not run again, as
multiprocessing would. What goes to and fro is pickled over its standard input and output. It ends when its input does,
so it never outlives the one that started it by more than a chunk.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
import traceback
from pathlib import Path
from typing import IO, Any

from sim.errors import InputError
from sim.sweeps.chunks import Done, run_chunk
from sim.sweeps.jobs import Jobs, Outlines

ROOT = str(Path(__file__).resolve().parents[2])
PROGRAM = "import sys; sys.path.insert(0, sys.argv[1]); from sim.sweeps.helper import serve; serve()"


class HelperError(InputError):
    """A helper ended before its chunk did."""


class Helper:
    """A helper as the one that started it sees it; OSError where no process can be started."""

    def __init__(self, jobs: Jobs, engine: str) -> None:
        # a group of its own: an interrupt at the terminal is for the one who knows which runs are done
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, ROOT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            process_group=0,
        )
        self._send((jobs, engine))

    def run(self, first: int, end: int) -> list[Done]:
        """The finished jobs first … end − 1; raises what running them raised."""
        self._send((first, end))
        assert self._process.stdout is not None
        try:
            error, done = pickle.load(self._process.stdout)
        except EOFError:
            raise self._gone() from None
        if error is not None:
            raise error
        return list(done)

    def close(self) -> None:
        """End it, whatever it is doing."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            with contextlib.suppress(OSError):  # what was still to be sent has nobody to read it
                stream.close()

    def _send(self, what: object) -> None:
        assert self._process.stdin is not None
        try:
            pickle.dump(what, self._process.stdin)
            self._process.stdin.flush()
        except OSError:
            raise self._gone() from None

    def _gone(self) -> HelperError:
        return HelperError(
            f"engine.threads: a process of the sweep ended with status {self._process.wait()}, stopped from outside or for "
            "lack of memory; with engine.threads=1 there is only one"
        )


def serve() -> None:
    """Be a helper: run what is asked for until nobody asks any more. What a user's policy prints goes to stderr."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    asked: IO[bytes] = sys.stdin.buffer
    try:
        jobs, engine = pickle.load(asked)
        outlines = Outlines()
        while True:
            first, end = pickle.load(asked)
            pickle.dump(_answer(jobs, first, end, engine, outlines), answers)
            answers.flush()
    except (EOFError, BrokenPipeError):
        os._exit(0)


def _answer(jobs: Jobs, first: int, end: int, engine: str, outlines: Outlines) -> tuple[Any, list[Done]]:
    try:
        return None, run_chunk(jobs, first, end, engine, outlines)
    except InputError as error:
        return error, []
    except Exception:
        return RuntimeError(f"in a process of the sweep:\n{traceback.format_exc()}"), []
