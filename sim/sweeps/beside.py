"""A process beside this one: making requests and summing up hold the interpreter's lock, and every process has its own.

It is a Python of its own that imports nothing but the simulator: the script that called is not run again, as
multiprocessing would. It ends when nobody is there to ask it, so it never outlives the one that started it by more than
what it is at.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

ROOT = str(Path(__file__).resolve().parents[2])
PROGRAM = "import sys; sys.path.insert(0, sys.argv[1]); from sim.sweeps.beside import serve; serve(int(sys.argv[2]))"
STDERR = 2


class Job(Protocol):
    """What a process beside this one is told first; it is sent to it whole."""

    def worker(self) -> Any:
        """Who answers what is asked, one thing at a time."""


class Beside:
    """A process beside this one that answers questions, as the one that started it sees it."""

    def __init__(self, job: Job) -> None:
        self.line, theirs = Pipe()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, ROOT, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=STDERR,  # what users' policies print is no part of a table
                process_group=0,  # an interrupt at the terminal is for the one who knows which shards are done
            )
        self.ask(job)

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def ask(self, what: object) -> None:
        """Have it answer something."""
        with contextlib.suppress(OSError):  # it is gone: its answer says so
            self.line.send(what)

    def answer(self) -> Any:
        """What it answers; None where the process is gone."""
        try:
            return self.line.recv()
        except (EOFError, OSError):
            return None

    def why_gone(self) -> str:
        """How a process ended that is gone."""
        self.line.close()
        return f"its process ended with status {self._process.wait()}, stopped from outside or for lack of memory"

    def close(self) -> None:
        """End it, whatever it is doing."""
        self._process.kill()
        self._process.wait()
        self.line.close()


def serve(handle: int) -> None:
    """Be the process at this end of a line: answer what is asked until nobody asks any more."""
    with Connection(handle) as line:
        try:
            worker = line.recv().worker()
            while True:
                line.send(worker(line.recv()))
        except (EOFError, OSError):
            return
