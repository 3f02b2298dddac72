"""The command as a process of its own, in surroundings that fail: closed pipes, full disks, odd locales, signals."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sim.records.files import TMP_PREFIX, own_prefix, whole_file, whole_folder

REPO = Path(__file__).resolve().parents[2]
COMMAND = f"{shlex.quote(sys.executable)} -m sim.cli"
ENV = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(REPO), os.environ.get("PYTHONPATH")]))}


def shell(line: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """A line of bash in which `fleetsim` is the command."""
    return subprocess.run(
        ["bash", "-c", f'set -o pipefail\nfleetsim() {{ {COMMAND} "$@"; }}\n{line}'],
        cwd=cwd,
        env={**ENV, **env},
        capture_output=True,
        text=True,
        errors="replace",
        timeout=300,
        check=False,
    )


ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
LINES: tuple[tuple[str, int, str, dict[str, str]], ...] = (
    ("fleetsim list | head -1", 0, "", {}),
    ("fleetsim list | true", 0, "", {}),
    ("fleetsim show first_run --all | head -c 10", 0, "", {}),
    ("fleetsim show first_run --json | true", 0, "", {}),
    ("fleetsim --help | true", 0, "", {}),
    ("fleetsim show no_such 2>&1 | true", 2, "", {}),
    ("fleetsim list > /dev/full", 2, "the disk is full", {}),
    ("fleetsim --version > /dev/full", 2, "the disk is full", {}),
    ("fleetsim show no_such 2> /dev/full", 2, "", {}),
    ("fleetsim list >&-", 0, "", {}),
    ("fleetsim show no_such 2>&-", 2, "", {}),
    ("fleetsim show no_such <&- >&- 2>&-", 2, "", {}),
    ("fleetsim show first_run duration_s=0", 2, "≥ 1e-06", {"LC_ALL": "C"}),
    ("fleetsim show first_run duration_s=0", 2, "allowed: a number", ASCII),
    ("fleetsim list", 0, "", ASCII),
    ("fleetsim show first_run --all", 0, "", {**ASCII, "PYTHONIOENCODING": "ascii:strict"}),
    ("fleetsim show $'\\xff\\xfe'", 2, "is not known", {}),
    ("fleetsim show $'\\xff\\xfe'", 2, "is not known", ASCII),
    ("fleetsim show $'\\e[31mred'", 2, "\\x1b", {}),
    ("mkdir gone && cd gone && rmdir ../gone && fleetsim show first_run", 2, "working directory", {}),
    ("mkdir gone && cd gone && rmdir ../gone && fleetsim list", 2, "working directory", {}),
    ("mkdir gone && cd gone && rmdir ../gone && fleetsim --version", 0, "", {}),
    ("fleetsim list", 0, "", {"COLUMNS": "1", "LINES": "0", "TERM": "dumb"}),
    ("fleetsim list", 0, "", {"COLUMNS": "-5", "TERM": "no-such-terminal", "NO_COLOR": "1"}),
    ("mkdir scenarios && mkdir scenarios/x.yaml && fleetsim list", 0, "", {}),
    ("ln -s loop.yaml loop.yaml; fleetsim show ./loop.yaml", 2, "there is no file", {}),
    ("mkfifo f.yaml; echo x > d.yaml; fleetsim show ./d.yaml", 2, "must be a mapping", {}),
    ("touch results; fleetsim plot latest", 2, "result:", {}),
    ("touch conf; fleetsim list gpu", 0, "", {}),
    ("ulimit -n 3; fleetsim show first_run", 2, "", {}),
)  # fmt: skip


@pytest.mark.parametrize(("line", "code", "said", "env"), LINES)
def test_surroundings_that_fail(line: str, code: int, said: str, env: dict[str, str], tmp_path: Path) -> None:
    done = shell(line, tmp_path, **env)
    if line.startswith("ulimit"):  # Python itself may not come up
        assert "this is a bug" not in done.stderr
        return
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    for word in ("Traceback", "this is a bug", "Exception ignored"):
        assert word not in done.stderr + done.stdout
    assert "\x1b" not in done.stderr + done.stdout


# ---- results ----------------------------------------------------------------------
RUN = "first_run duration_s=20"


def test_a_run_whose_reader_has_gone_keeps_its_results_and_its_code(tmp_path: Path) -> None:
    done = shell(f"fleetsim run {RUN} output.dir=out | true", tmp_path)
    assert done.returncode == 0, done.stderr
    (kept,) = (tmp_path / "out").iterdir()
    assert (kept / "summary.json").is_file()
    failed = shell(f"fleetsim run {RUN} output.dir=out2 'slo=[\"ttft.p99 < 1 us\"]' | true", tmp_path)
    assert failed.returncode == 3, failed.stderr


@pytest.mark.parametrize(
    "folder", ["/dev/null", "/dev/null/x", "/proc/x", "file", "file/x", "x" * 300, "a/" * 150 + "x" * 300]
)
def test_a_folder_that_cannot_be_written(folder: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = shell(f"fleetsim run {RUN} output.dir={folder}", tmp_path)
    assert done.returncode == 2, done.stderr
    assert "output.dir" in done.stderr
    assert "this is a bug" not in done.stderr
    assert not list(tmp_path.rglob(f"{TMP_PREFIX}*"))


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="nothing is read-only for root")
def test_a_folder_that_is_read_only(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir(mode=0o555)
    done = shell(f"fleetsim run {RUN} output.dir=out", tmp_path)
    assert done.returncode == 2
    assert "Permission denied" in done.stderr


SLOW = """
import signal, sys, time

signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests may ignore these two
signal.signal(signal.SIGHUP, signal.SIG_DFL)

from sim import cli
from sim.records import files

whole = files._sync_all

def slow(folder):
    whole(folder)
    print("writing", flush=True)
    time.sleep(120)

files._sync_all = slow
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_signals_leave_nothing_half_written(number: int, code: int, tmp_path: Path) -> None:
    words = ["run", *RUN.split(), f"output.dir={tmp_path / 'out'}"]
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, *words],
        env=ENV,
        cwd=tmp_path,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    assert list((tmp_path / "out").glob(f"{TMP_PREFIX}*"))
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert not list((tmp_path / "out").iterdir())
    assert err.count("\n") == 1
    assert "Traceback" not in err


# ---- what a killed process leaves ----------------------------------------------------------------------
def dead_pid() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_orphans_are_removed_and_what_a_living_process_writes_is_not(tmp_path: Path) -> None:
    mine, dead = own_prefix(), own_prefix().replace(f"-{os.getpid()}-", f"-{dead_pid()}-")
    parent = own_prefix().replace(f"-{os.getpid()}-", f"-{os.getppid()}-")
    elsewhere = dead.replace(TMP_PREFIX, f"{TMP_PREFIX}another_host_")
    for name in (
        f"{dead}a",
        f"{mine}b",
        f"{parent}c",
        f"{elsewhere}d",
        f"{TMP_PREFIX}new",
        f"{TMP_PREFIX}old",
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    (tmp_path / f"{dead}file").touch()
    (tmp_path / "kept").mkdir()
    os.utime(tmp_path / f"{TMP_PREFIX}old", (time.time() - 1e6,) * 2)
    with whole_folder(tmp_path / "run") as (folder, _):
        (folder / "x").touch()
        assert folder.name.startswith(mine)
        left = {path.name for path in tmp_path.iterdir()} - {folder.name}
    assert left == {f"{mine}b", f"{parent}c", f"{elsewhere}d", f"{TMP_PREFIX}new", "kept"}


def test_an_orphan_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "precious").touch()
    link = tmp_path / "out" / own_prefix().replace(f"-{os.getpid()}-", f"-{dead_pid()}-")
    link.parent.mkdir()
    link.symlink_to(tmp_path / "elsewhere")
    with whole_file(tmp_path / "out" / "x") as tmp:
        tmp.touch()
    assert (tmp_path / "elsewhere" / "precious").exists()
    assert not link.is_symlink()
