"""The command line: what it prints, and the exit code it leaves with."""

from __future__ import annotations

import errno
import importlib
import json
import os
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from sim import cli
from sim.scenario.catalogue import option_files

REPO = Path(__file__).resolve().parents[2]


def fleetsim(*words: str, cwd: Path = REPO, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    paths = os.pathsep.join([str(REPO), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-m", "sim.cli", *words],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": paths, **env},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """The Python interface and the printers replaced, so that only the command line is under test."""
    api: Any = types.ModuleType("sim.api")
    api.verdicts = [("ttft.p99 < 1 s", 0.5, True)]
    api.calls = []

    def run(scenario: Any, **kept: Any) -> Any:
        api.calls.append((scenario, kept))
        return types.SimpleNamespace(summary={}, verdicts=api.verdicts, path=None)

    def compare(name: str, variants: dict[str, list[str]], **kept: Any) -> Any:
        return types.SimpleNamespace(runs={label: run(label, **kept) for label in variants})

    from sim.scenario.compose import load_scenario

    api.load, api.run, api.compare = load_scenario, run, compare
    terminal: Any = types.ModuleType("sim.report.terminal")
    terminal.print_run = lambda run, console, *more: sys.stdout.write("a run\n")
    terminal.print_comparison = lambda runs, console: sys.stdout.write(f"{len(runs.runs)} runs\n")
    for module in (api, terminal):
        monkeypatch.setitem(sys.modules, module.__name__, module)
        package, _, name = module.__name__.rpartition(".")
        monkeypatch.setattr(importlib.import_module(package), name, module, raising=False)
    return api


def test_help_and_version_need_nothing_slow() -> None:
    code = (
        "import sys; from sim import cli; cli.main(['--help']); print([m for m in sys.modules if m in SLOW])"
    )
    slow = ("numpy", "numba", "pydantic", "hydra", "pyarrow", "altair", "scipy", "rich")
    done = subprocess.run(
        [sys.executable, "-c", f"SLOW = {slow!r}\n{code}"],
        cwd=REPO,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "fleetsim run SCENARIO" in done.stdout
    assert done.stdout.strip().endswith("[]")


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["help"], ["run", "--help"], ["compare", "-h"]])
def test_help(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words) == 0
    assert "fleetsim compare spiky_hour" in capsys.readouterr().out


def test_every_verb_in_the_help_exists(capsys: pytest.CaptureFixture[str]) -> None:
    lines = [line.split() for line in cli.HELP.splitlines() if line.startswith("  fleetsim ")]
    for verb in {words[1] for words in lines} - {"--version,"}:
        assert cli.main([verb, "--help"]) == 0
    capsys.readouterr()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rum", "x"], "'rum' is no verb; there are: run, compare, plan"),
        (["run"], "run: needs a scenario first"),
        (["run", "gpu=l4"], "run: needs a scenario first"),
        (["run", "first_run", "--fast"], "run: '--fast' is no option"),
        (["show", "first_run", "--jsn"], "did you mean '--json'"),
        (["run", "spiky_hor"], "did you mean 'spiky_hour'"),
        (["show", "first_run", "gpu=h10"], "did you mean 'h100'"),
        (
            ["show", "first_run", "gpu.memory_gb=-1"],
            "gpu.memory_gb: -1 is not valid; allowed: a number ≥ 0.5 and ≤ 100000, in GB",
        ),
        (["show", "first_run", "duration_s=4000000"], "duration_s: 4000000"),
        (["show", "first_run", "duration_s=.nan"], "duration_s: '.nan'"),
        (["show", "first_run", "question=${oc.env:HOME}"], "interpolation is not allowed"),
        (["compare", "first_run"], "nothing to compare"),
        (["compare", "first_run", "seed=3"], "nothing to compare"),
        (["run", "first_run", "autoscaler=hpa,fixed"], "fleetsim compare"),
        (["list", "gpuu"], "gpuu: no such group"),
        (["list", "gpu", "model"], "takes one group"),
        (["completion", "tcsh"], "bash, zsh, fish"),
        (["completion"], "bash, zsh, fish"),
        (["plot"], "plot: needs a run first"),
        (["plot", "foo=1"], "plot: needs a run first"),
        (["plot", "latest", "foo=1"], "plot: 'foo=1' is not valid; allowed: results and nothing else"),
        (["plot", "latest", "--png"], "plot: '--png' is no option of it; it has none"),
        (["why", "latest", "class=a", "class=b"], "why: 'class=b': class is said twice"),
        (["compare", "first_run", "seed=1,2", "seed=3"], "seed=1,2: seed is given twice"),
        (["compare", "first_run", "seed=1,2", "seed=3,4"], "seed=3,4: seed is given twice"),
        (["run", "first_run", "=3"], "=3: has no key"),
        (["run", "first_run", "output.sample_interval_s=0.0010"], "a time series has at most 1,000,000 rows"),
        (["run", "first_run", "output.sample_interval_s=1e9"], "output.sample_interval_s: 1000000000.0"),
        (["run", "first_run", "traffic.retry=aggressive"], "an option is chosen as retry=aggressive"),
        (["run", "two_models", "pools.chat.gpu=h100"], "an option is chosen as gpu@pools.chat.gpu=h100"),
        (
            ["run", "first_run", "gateway.stations.t=tokeniser"],
            "chosen as station@gateway.stations.t=tokeniser",
        ),
        (
            ["run", "first_run", 'slo="ttft.p99 < 1 s"'],
            "limits of your own are a list, as 'slo=[\"ttft.p99 < 1 s\"]'",
        ),
        (
            ["run", "first_run", "traffic.output_tokens={kind: lognormal, median: 3, p99: 2}"],
            "traffic.output_tokens: p99 2",
        ),
        (["run", "first_run", "pool.gpu=l4"], "an option is chosen as gpu=l4"),
        (["run", "slow_tokeniser", "traffic.before=[tokenizer]"], "did you mean 'tokeniser'?"),
        (["why"], "why: needs a run first"),
        (["why", "no-such-run"], "run: 'no-such-run' is not valid"),
        (["why", "latest", "clas=chat"], "did you mean 'class'?"),
        (["calibrate"], "calibrate: needs a file of measurements"),
        (["calibrate", "a.csv", "gpu=h100"], "gpu=h100: settings need a scenario"),
        (["calibrate", "a.csv", "--scenario"], "--scenario needs a name after it"),
        (["calibrate", "no-such-file.csv"], "no-such-file.csv"),
        (["calibrate", "no-such-file.json"], "no-such-file.json"),
        (["calibrate", "a.csv", "--coeficients"], "did you mean '--coefficients'?"),
        (["show", "first_run", "name=a\x1b[31mb"], "\\x1b"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words) == 2
    shown = capsys.readouterr()
    assert said in shown.err
    assert shown.err.count("\n") == 1
    assert shown.out == ""


def test_every_mistake_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["show", "first_run", "seed=-1", "gpu.memory_gb=x", "pool.tp=0"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[1] for line in lines] == ["seed", "gpu.memory_gb", "pool.tp"]


BAD_FILES = {
    "wrong_key": ("sed: 3", "sed: no such key"),
    "trap": (
        "duration_s: 12:30:00",
        "scenarios/trap.yaml:1: duration_s: YAML reads 12:30:00 as a number in base 60",
    ),
    "octal": ("seed: 012", "octal"),
    "word": ("question: no", "YAML reads no as false"),
    "twice": ("seed: 1\nseed: 2", "scenarios/twice.yaml:2: seed: this key is there twice"),
    "code": ("gpu: {_target_: os.system}", "runs no code"),
    "env": ("question: ${oc.env:HOME}", "reads no environment"),
    "bomb": ("a: &a [x]\nb: [*a, *a]", "anchors are not allowed"),
    "nan": ("duration_s: .nan", "not a finite number"),
    "unit": ("duration_s: 10 min", "'10 min' is not valid; allowed: a number ≥ 1e-06 and ≤ 3888000, in s"),
    "rate": ("traffic: {arrivals: {rate_per_s: -1}}", "traffic.arrivals.rate_per_s: -1 is not valid"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_files(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text, said = BAD_FILES[name]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scenarios").mkdir()
    (tmp_path / "scenarios" / f"{name}.yaml").write_text(text)
    assert cli.main(["run", name]) == 2
    shown = capsys.readouterr()
    assert said in shown.err
    assert shown.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["scenarios"], "nothing is left behind"


def test_a_process_of_its_own_says_the_same() -> None:
    done = fleetsim("run", "spiky_hor")
    assert done.returncode == 2
    assert done.stdout == ""
    assert "did you mean 'spiky_hour'" in done.stderr
    assert "Traceback" not in done.stderr


def test_show(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["show", "first_run", "seed=7"]) == 0
    lines = capsys.readouterr().out.splitlines()
    row = next(line for line in lines if line.startswith("seed "))
    assert row.split() == ["seed", "7", "command", "line"]
    row = next(line for line in lines if line.startswith("gpu.memory_bw_gb_s "))
    assert row.split()[:3] == ["gpu.memory_bw_gb_s", "3350", "GB/s"]
    assert "datasheet" in row
    assert lines[-1].startswith("config hash ")


def test_show_as_json_reads_back(capsys: pytest.CaptureFixture[str]) -> None:
    from sim.scenario.build import from_dict
    from sim.scenario.compose import load_scenario

    assert cli.main(["show", "two_models", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert from_dict(data["config"]) == load_scenario("two_models")


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["list"]) == 0
    out = capsys.readouterr().out
    assert "scenarios: " in out
    assert "  spiky_hour " in out
    assert cli.main(["list", "router"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert len(listed) == 1 + len(option_files("router"))


def test_run_keeps_its_results_where_the_scenario_says(stub: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "first_run", "output.dir=elsewhere", "seed=5"]) == 0
    ((scenario, kept),) = stub.calls
    assert (scenario.seed, kept["out"]) == (5, "elsewhere")
    assert capsys.readouterr().out == "a run\n"


def test_compare_runs_every_variant(stub: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["compare", "first_run", "autoscaler=fixed,hpa,queue", "seed=1,2"]) == 0
    assert len(stub.calls) == 6
    assert capsys.readouterr().out == "6 runs\n"


@pytest.mark.parametrize("words", [["run", "first_run"], ["compare", "first_run", "seed=1,2"]])
def test_a_failed_limit_is_exit_code_3(words: list[str], stub: Any) -> None:
    assert cli.main(words) == 0
    stub.verdicts = [("ttft.p99 < 1 s", 0.5, True), ("usd < 1", 2.0, False)]
    assert cli.main(words) == 3


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "results/x"),
            2,
            "results/x: cannot be used: the disk is full",
        ),
        (
            OSError(errno.EROFS, "Read-only file system", "results"),
            2,
            "results: cannot be used: the file system is read-only",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "results"), 2, "permission denied"),
        (OSError(errno.EIO, "I/O error", "results"), 2, "results: cannot be used: I/O error"),
        (ValueError("strange\nthings"), 1, "this is a bug: ValueError: strange things"),
        (MemoryError(), 2, "not enough memory"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_what_goes_wrong_has_its_exit_code(
    error: BaseException, code: int, said: str, stub: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*_: Any, **__: Any) -> None:
        raise error

    stub.run = run
    assert cli.main(["run", "first_run"]) == code
    shown = capsys.readouterr().err
    assert said in shown
    assert "Traceback" not in shown
    assert shown.count("\n") == 1


def test_the_traceback_is_there_for_those_who_ask(
    stub: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("no")

    stub.run = run
    monkeypatch.setenv("FLEETSIM_DEBUG", "1")
    assert cli.main(["run", "first_run"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_a_reader_that_stops_early_is_no_error() -> None:
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; '{sys.executable}' -m sim.cli list | head -1"],
        cwd=REPO,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.returncode == 0


def test_calibrate_prints_yaml_and_says_its_errors(capsys: pytest.CaptureFixture[str]) -> None:
    from sim.scenario.yaml_file import parse_yaml

    path = REPO / "tests" / "unit" / "data" / "steptime_grid_excerpt.csv"
    for flags, kind in (([], "grid"), (["--coefficients"], "coefficients")):
        assert cli.main(["calibrate", str(path), *flags]) == 0
        shown = capsys.readouterr()
        assert parse_yaml(shown.out, "out")["kind"] == kind
        assert "error mean" in shown.err


def test_calibrate_compares_with_the_modelled_step_time(capsys: pytest.CaptureFixture[str]) -> None:
    path = str(REPO / "tests" / "unit" / "data" / "steptime_measured_excerpt.csv")
    assert cli.main(["calibrate", path]) == 0
    by_name = capsys.readouterr().err
    assert "the modelled step time (A100 SXM 80 GB, Llama2 70B, bf16, tp 4) is" in by_name
    assert "on points left out" in by_name
    assert cli.main(["calibrate", path, "--scenario", "first_run", "model=llama2_70b", "pool.tp=8"]) == 0
    assert "the modelled step time (H100 SXM 80 GB, Llama2 70B, bf16, tp 8) is" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        ("h100_sxm", ["h100", "h100_pcie", "h200"], "h100"),
        ("H100-PCIe", ["h100", "h100_pcie", "h200"], "h100_pcie"),
        ("a100-80gb", ["a100_40", "a100_80"], "a100_80"),
        ("Meta-Llama-3.1-8B-Instruct", ["llama_3_1_70b", "llama_3_1_8b"], "llama_3_1_8b"),
        ("mine", ["h100"], None),
        ("", ["h100"], None),
    ],
)
def test_an_option_is_found_by_the_words_of_a_name(
    text: str, options: list[str], expected: str | None
) -> None:
    from sim.calibration import named_option

    assert named_option(text, options) == expected


def test_calibrate_to_operating_points(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "points.csv"
    path.write_text("running,itl_p50_ms\n8,14\n64,18\n200,27\n")
    asked = ["calibrate", str(path), "--scenario", "first_run", "model=qwen3_32b", "pool.tp=2"]
    assert cli.main(asked) == 0
    shown = capsys.readouterr()
    assert (
        "3 operating points of H100 SXM 80 GB, Qwen3 32B, bf16, tp 2, 8 to 200 running sequences" in shown.err
    )
    assert "each point predicted from the others" in shown.err
    assert shown.out.count("kind: grid") == 1
    path.write_text("running,itl_p50_ms\n8,14\n64,18 %\n")
    assert cli.main(asked) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == "fleetsim: points.csv, line 3: itl_p50_ms: '18 %' is not a number\n"
