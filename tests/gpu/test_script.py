"""`scripts/gpu` runs to its end, or leaves what it has: rehearsed on numba's simulator, whose figures mean nothing."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from sim.engine import cuda

SCRIPTS = Path(__file__).parents[2] / "scripts"
SCRIPT = SCRIPTS / "gpu.py"
#: what a machine with a GPU need not have: everything but numpy, numba and numba-cuda
ABSENT = (
    "simpy", "hydra", "omegaconf", "pydantic", "pydantic_core", "yaml", "altair", "vl_convert", "pyarrow", "scipy",
    "rich", "pandas", "pytest", "hypothesis", "antlr4",
)  # fmt: skip
BLOCKER = f"""
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {ABSENT!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
"""
NCU = """
import subprocess, sys
words = sys.argv[1:]
log = words[words.index("--log-file") + 1]
assert "regex:advance" in words and "--profile-from-start" in words
code = subprocess.run(words[words.index("--log-file") + 2 :]).returncode
with open(log, "w") as file:
    file.write("==PROF== Connected\\n")
    file.write('"ID","Kernel Name","gpu__time_duration.sum","dram__bytes_read.sum","dram__bytes_write.sum"\\n')
    file.write('"","","usecond","Kbyte","byte"\\n')
    file.write('"0","advance_kernel","1,500.0","3.0","600"\\n')
raise SystemExit(code)
"""

simulator = pytest.mark.skipif(
    importlib.util.find_spec("numba_cuda") is None, reason="numba-cuda is not installed"
)


def load(name: str) -> ModuleType:
    """A module beside the script."""
    if name in sys.modules and getattr(sys.modules[name], "__file__", None) == str(SCRIPTS / f"{name}.py"):
        return sys.modules[name]
    if str(SCRIPTS) not in sys.path:
        sys.path.insert(0, str(SCRIPTS))
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    if name != "gpu":  # this folder is a package of that name
        sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def start(*words: str, **environment: str) -> subprocess.Popen[str]:
    """The script, as a machine with or without a GPU runs it."""
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), *words],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(*words: str, **environment: str) -> tuple[int, str, str]:
    """Exit code, stdout, stderr."""
    process = start(*words, **environment)
    out, err = process.communicate()
    return process.returncode, out, err


def bare(folder: Path) -> dict[str, str]:
    """The environment of a machine where only numpy, numba and numba-cuda are, for every Python that is started."""
    (folder / "bare").mkdir()
    (folder / "bare" / "sitecustomize.py").write_text(BLOCKER)
    return {"PYTHONPATH": str(folder / "bare")}


def started_with(token: str) -> list[int]:
    """Processes whose environment has a token."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if token.encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


@simulator
def test_a_rehearsal_on_a_bare_machine_compares_times_and_writes_everything(tmp_path: Path) -> None:
    path = tmp_path / "found" / "simulated.json"
    code, out, err = run("--simulate", "--out", str(path), **bare(tmp_path))
    assert code == 0, err[-3000:]
    found = json.loads(path.read_text())
    assert found["complete"], found["steps"]
    assert found["machine"]["simulated"]
    assert found["machine"]["versions"]["numpy"]
    assert found["equality"] == {
        "scenarios": 5,
        "of_sweeps": 3,
        "of_random_fleets": 2,
        "sweeps_that_differ": 0,
        "fleets_that_differ": 0,
    }
    (part,) = found["sweeps"]
    assert part["gpu"][0]["requests"] == part["cpu"]["requests"] == 18
    assert part["gpu"][0]["scenarios_that_differ"] == []
    assert part["gpu"][0]["launches"] > 0
    assert part["cost_of_a_request"]["words"]["state_writes"] > 10
    assert "share_of_limits" not in part["gpu"][0]
    assert "5 scenarios compared" in out
    assert f"numpy {found['machine']['versions']['numpy']}" in out
    assert "bytes touched" in out
    assert [p.name for p in path.parent.iterdir()] == ["simulated.json"]


def test_the_bare_machine_of_the_tests_is_bare(tmp_path: Path) -> None:
    code = f"""
from importlib import import_module
for name in {ABSENT!r}:
    try:
        import_module(name)
    except ModuleNotFoundError:
        print(name)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **bare(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert tuple(done.stdout.split()) == ABSENT


@simulator
def test_a_run_that_is_killed_leaves_what_it_had_and_no_process(tmp_path: Path) -> None:
    path, token = tmp_path / "cut.json", f"FLEETSIM_TEST={time.time_ns()}"
    process = start("--simulate", "--out", str(path), **dict([token.split("=")]))
    while not path.exists() or len(json.loads(path.read_text())["steps"]) < 2:
        assert process.poll() is None, "it was done before it could be killed"
        time.sleep(0.01)
    process.kill()
    process.wait()
    found = json.loads(path.read_text())
    assert not found["complete"]
    assert [step["step"] for step in found["steps"]][:2] == ["machine", "compile kernels"]
    until = time.monotonic() + 60
    while started_with(token) and time.monotonic() < until:
        time.sleep(0.2)
    assert started_with(token) == []


@simulator
def test_a_run_that_is_told_to_end_says_so(tmp_path: Path) -> None:
    path = tmp_path / "told.json"
    process = start("--simulate", "--out", str(path))
    while not path.exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate()
    assert process.returncode == 130, err
    assert json.loads(path.read_text())["stopped"] == "SIGTERM"
    assert "what was finished has been written" in err


@simulator
def test_steps_without_time_are_named_and_the_others_stand(tmp_path: Path) -> None:
    path = tmp_path / "short.json"
    code, _, _ = run("--simulate", "--budget", "6", "--out", str(path))
    found = json.loads(path.read_text())
    skipped = [step["step"] for step in found["steps"] if "skipped" in step]
    assert code == 1
    assert "host, 1 replicas" in skipped
    assert not found["complete"]
    assert found["compile"]["kernels_s"] > 0


@simulator
def test_ncu_is_asked_where_it_is_there(tmp_path: Path) -> None:
    ncu = tmp_path / "ncu"
    ncu.write_text(f"#!{sys.executable}\n{NCU}")
    ncu.chmod(0o755)
    path = tmp_path / "ncu.json"
    code, _, err = run("--simulate", "--out", str(path), FLEETSIM_NCU=str(ncu))
    assert code == 0, err[-3000:]
    found = json.loads(path.read_text())["ncu"]
    assert found["launches"] == 1
    assert found["requests"] == 12
    assert found["seconds"] == pytest.approx(1.5e-3)
    assert found["dram_bytes_per_request"] == 3600 / 12
    assert "not known" in found["limited_by"]


def test_a_rehearsal_leaves_the_reference_figures_alone() -> None:
    code, _, err = run("--simulate")
    assert code == 2
    assert "--out" in err


def test_without_a_gpu_the_script_says_so_in_one_line(tmp_path: Path) -> None:
    if cuda.why_not() is None:
        pytest.skip("there is a GPU")
    code, _, err = run("--out", str(tmp_path / "none.json"))
    assert code == 1
    assert len(err.strip().splitlines()) == 1
    assert "engine: 'cuda' cannot be used" in err
    assert not list(tmp_path.iterdir())


def test_the_budgets_are_those_that_are_promised() -> None:
    gpu, report = load("gpu"), load("gpu_report")
    assert gpu.QUICK.budget_s + report.OVERDUE_S < 4 * 60  # where the device hangs
    assert gpu.FULL.budget_s + report.OVERDUE_S < 9 * 60
    for scale in (gpu.QUICK, gpu.FULL):
        assert scale.checked >= 4000
        assert scale.sizes[0] >= scale.checked
        assert len(scale.sizes) >= 3


def test_a_report_is_whole_after_every_step_whatever_happens_in_it(tmp_path: Path) -> None:
    module = load("gpu_report")
    report = module.Report(tmp_path / "r.json", 100.0, {"kept": 1})

    def fail() -> None:
        raise ValueError("first line\nsecond")

    def late() -> None:
        raise module.OutOfTimeError("half done")

    assert report.step("good", lambda: 7) == 7
    assert report.step("bad", fail) is None
    assert report.step("late", late) is None
    assert report.step("long", lambda: 1, least_s=1000.0) is None
    found = json.loads(report.path.read_text())
    told = [set(step) - {"step", "seconds"} for step in found["steps"]]
    assert told == [set(), {"failed"}, {"stopped"}, {"skipped"}]
    assert found["steps"][1]["failed"] == "ValueError: first line"
    report.close()
    assert json.loads(report.path.read_text())["complete"] is False
    assert [p.name for p in tmp_path.iterdir()] == ["r.json"]


def test_a_report_whose_steps_were_all_done_is_complete(tmp_path: Path) -> None:
    report = load("gpu_report").Report(tmp_path / "r.json", 100.0, {})
    report.step("good", lambda: 7)
    report.close()
    assert json.loads(report.path.read_text())["complete"] is True


def test_a_device_that_hangs_does_not_keep_the_process(tmp_path: Path) -> None:
    code = f"""
import sys, time
sys.path.insert(0, {str(SCRIPTS)!r})
import gpu_report
from pathlib import Path
gpu_report.OVERDUE_S = 0.0
report = gpu_report.Report(Path({str(tmp_path / "hung.json")!r}), 0.3, {{}})
report.watch(lambda: None)
report.step("hangs", lambda: time.sleep(60), least_s=-10)
"""
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == 124
    assert "nothing came back" in json.loads((tmp_path / "hung.json").read_text())["stopped"]


def test_scenarios_that_end_differently_are_told() -> None:
    device = load("gpu_device")
    assert device.differing(["a", "b", "c"], ["a", "x", "c"]) == [1]
    assert device.differing(["a"], ["a", "b"]) == []


def test_limits_that_a_driver_does_not_tell_are_left_out() -> None:
    device = load("gpu_device")
    known = {
        "clock_khz": 1_000_000,
        "multiprocessors": 10,
        "memory_clock_khz": 2_000_000,
        "memory_bus_bits": 1024,
    }
    rates = device.rates_of(known)
    assert rates == {"memory_bytes_per_s": 512e9, "thread_instructions_per_s": 1280e9}
    cost = {"sector_bytes_at_most": 1000.0, "instructions_estimate": 100.0}
    assert device.shares_of_limits(1e6, cost, rates) == {"memory": 1e9 / 512e9, "instructions": 1e8 / 1280e9}
    unknown = device.rates_of({**known, "memory_clock_khz": None})
    assert unknown["memory_bytes_per_s"] is None
    assert set(device.shares_of_limits(1e6, cost, unknown)) == {"instructions"}


def test_a_kernel_is_asked_for_what_it_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    device = load("gpu_device")
    context = SimpleNamespace(get_active_blocks_per_multiprocessor=lambda function, threads, shared: 12)
    monkeypatch.setattr(cuda, "cuda", SimpleNamespace(current_context=lambda: context))
    library = SimpleNamespace(get_cufunc=lambda: "f", get_asm_str=lambda: "ld.global.u64 a; st.global.u64 b;")
    facts = device._facts(
        SimpleNamespace(regs_per_thread=80, _codelibrary=library), {"threads_per_multiprocessor": 2048}
    )
    assert facts["registers"] == 80
    assert facts["memory_instructions_in_ptx"] == 2
    assert facts["occupancy"] == 12 * cuda.THREADS / 2048
    assert facts["instructions"] is facts["stack_and_spills_bytes"] is None


# ---- Nsight Compute ------------------------------------------------------------------------------------------------
def launches(busy: dict[str, Any]) -> list[dict[str, float]]:
    """What ncu's file says of two launches."""
    names = ["ID", *busy, "gpu__time_duration.sum"]
    lines = ["==PROF== talk", ",".join(f'"{name}"' for name in names)]
    lines += [",".join(f'"{unit}"' for unit in ("", *(unit for unit, _, _ in busy.values()), "msecond"))]
    for at, ms in ((1, "1"), (2, "3")):
        lines.append(",".join(f'"{x}"' for x in ("0", *(v[at] for v in busy.values()), ms)))
    return load("gpu_ncu").launches_of(lines)  # type: ignore[no-any-return]


def test_counters_are_summed_over_launches_and_averaged_by_time() -> None:
    ncu = load("gpu_ncu")
    told = launches(
        {
            "dram__bytes_read.sum": ("Mbyte", "1", "2"),
            "sm__warps_active.avg.pct_of_peak_sustained_active": ("%", "20", "40"),
            "broken__metric": ("", "n/a", "n/a"),
        }
    )
    found = ncu.summed(told, {"requests": 1000})
    assert found["seconds"] == pytest.approx(4e-3)
    assert found["dram_bytes_per_request"] == pytest.approx(3000)
    assert found["achieved_occupancy_percent"] == pytest.approx((20 * 1 + 40 * 3) / 4)
    assert found["dram_bytes_written"] is None


@pytest.mark.parametrize(
    ("dram", "issue", "said"),
    [("80", "10", "memory bandwidth: 80 %"), ("30", "75", "instructions: 75 %"), ("30", "20", "latency")],
)
def test_what_limits_the_loop_follows_from_the_busiest_unit(dram: str, issue: str, said: str) -> None:
    stall = "smsp__average_warps_issue_stalled_{}_per_issue_active.ratio"
    told = launches(
        {
            "dram__throughput.avg.pct_of_peak_sustained_elapsed": ("%", dram, dram),
            "smsp__issue_active.avg.pct_of_peak_sustained_active": ("%", issue, issue),
            stall.format("long_scoreboard"): ("", "9.5", "9.5"),
            stall.format("wait"): ("", "1", "1"),
        }
    )
    found = load("gpu_ncu").summed(told, {})
    assert found["limited_by"].startswith(said)
    assert list(found["stalls"]) == ["long_scoreboard", "wait"]
    if said == "latency":
        assert "long scoreboard (9.5" in found["limited_by"]


def test_a_file_without_launches_says_nothing() -> None:
    ncu = load("gpu_ncu")
    assert ncu.launches_of(["==ERROR== ERR_NVGPUCTRPERM: no permission"]) == []
