# lists of odd words
"""Files that are no scenarios, words that are no commands, and CSV files that measure nothing."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from .drive import faults, fleetsim, told, written

HEAD = b"# @package _global_\nquestion: q\n"
DEEP = 3_000
YAML = {
    "nothing": b"",
    "a list": b"- 1\n- 2\n",
    "a number": b"7\n",
    "a text": b"'hello'\n",
    "a null": b"null\n",
    "a zero byte": HEAD + b"name: a\x00b\n",
    "no UTF-8": HEAD + b"name: \xff\xfe\n",
    "UTF-16": "name: a\n".encode("utf-16"),
    "a tab": HEAD + b"\tname: a\n",
    "an escape": b'question: "\\e[31mred\\e[0m \\u202Eback"\n',
    "an anchor": HEAD + b"a: &x 1\nb: *x\n",
    "a tag": HEAD + b"seed: !!python/object/apply:os.system ['true']\n",
    "a merge": HEAD + b"<<: {seed: 3}\n",
    "a key twice": HEAD + b"seed: 1\nseed: 2\n",
    "a list as a key": HEAD + b"? [a, b]\n: 1\n",
    "base 60": HEAD + b"duration_s: 1:30:00\n",
    "octal": HEAD + b"seed: 0755\n",
    "yes": HEAD + b"output: {records: yes}\n",
    "infinity": HEAD + b"duration_s: .inf\n",
    "not a number": HEAD + b"duration_s: .nan\n",
    "many digits": HEAD + b"duration_s: 1" + b"0" * 400 + b"\n",
    "many digits after a point": HEAD + b"duration_s: 1" + b"0" * 400 + b".0\n",
    "a huge power": HEAD + b"duration_s: 1.0e+99999\n",
    "interpolation": HEAD + b"question: ${oc.env:HOME}\n",
    "a private key": HEAD + b"_target_: os.system\n",
    "hydra": HEAD + b"hydra: {run: {dir: x}}\n",
    "a law": HEAD + b"autoscaler: {kind: user, law: 'x.py:f'}\n",
    "a list of lists": HEAD + b"slo: " + b"[" * DEEP + b"]" * DEEP + b"\n",
    "a map of maps": HEAD + b"traffic: " + b"{a: " * DEEP + b"1" + b"}" * DEEP + b"\n",
    "a big file": HEAD + b"note: '" + b"x" * 300_000 + b"'\n",
    "many keys": HEAD + b"".join(b"k%d: 1\n" % i for i in range(20_000)),
    "an open quote": HEAD + b"question: 'abc\n",
    "an open bracket": HEAD + b"slo: [1, 2\n",
    "two documents": HEAD + b"---\nseed: 2\n",
    "defaults of itself": b"defaults: [self.yaml]\n",
    "defaults that are a text": b"defaults: chat\n",
    "defaults that are numbers": b"defaults: [1, 2.5, null]\n",
    "defaults that are a map": b"defaults: {gpu: l4}\n",
    "an unknown group": b"defaults: [{override /gpuu: l4}]\n",
    "an unknown option": b"defaults: [{override /gpu: l44}]\n",
    "an option that is a list": b"defaults: [{override /gpu: [l4]}]\n",
    "another package": b"# @package pools.code\nseed: 2\n",
    "a group as package": b"#@package gpu\nseed: 2\n",
    "a name that is none": HEAD + b"name: '../../etc/passwd'\n",
    "a name that is a number": HEAD + b"name: 3\n",
    "an empty name": HEAD + b"name: ''\n",
    "an empty class name": HEAD + b"classes: {'': {}}\n",
    "a class with a bad name": HEAD + b"classes: {'a b': {}}\n",
    "a class with a newline": HEAD + b'classes: {"a\\n": {}}\n',
    "a class that is a number": HEAD + b"classes: {a: 3}\n",
    "a pool with an escape": HEAD + b'pools: {"\\e[31m": {}}\n',
    "pools as a list": HEAD + b"pools: [{name: a}]\n",
    "a pool of another name": HEAD + b"pools: {a: {name: b}}\n",
    "tenants as text": HEAD + b"tenants: acme\n",
    "an unknown key": HEAD + b"durations: 3\n",
    "a limit that is a number": HEAD + b"slo: [3]\n",
    "a limit that is a map": HEAD + b"slo: [{ttft: 1}]\n",
    "too many classes": HEAD
    + b"classes: {"
    + b", ".join(b"c%d: {share: 0.001}" % i for i in range(101))
    + b"}\n",
}
ACCEPTED = {"an escape", "nothing"}  # a question may say anything, and an empty file changes nothing
LIMITS = (
    "slo_attainment >= 500 %",
    "slo_attainment >= 99",
    "slo_attainment > 100 %",
    "slo_attainment >= 0",
    "slo_attainment < 0",
    "slo_attainment <= 100 %",
    "step_busy < 200 %",
    "kv_use >= -1",
    "mfu > 1.5",
    "prefix_hit_ratio <= 1",
    "ttft.p99 < -1 s",
    "ttft.p99 < 0 s",
    "ttft.p99 >= 0 s",
    "ttft.p99 < 1e300 s",
    "ttft.p99 < 1e400 s",
    "ttft.p99 < nan s",
    "ttft.p99 < 5",
    "ttft.p99 < 5 kg",
    "ttft.p98 < 5 s",
    "ttft < 5 s",
    "ttfd.p99 < 5 s",
    "usd >= 0",
    "usd < 0",
    "usd < 5 EUR",
    "usd_per_hour > -3",
    "failed < 0",
    "replicas_mean >= 0",
    "offered_per_s < 1e99",
    "gpu_seconds < -1 h",
    "nobody.ttft.p99 < 1 s",
    "chat.usd < 1",
    "ttft.p99 = 1 s",
    "ttft.p99 <> 1 s",
    "< 1 s",
    "ttft.p99 <",
    "\x1b[31m",
    "ttft.p99 < 1 s; rm -rf",
    "",
    " ",
    "x" * 400,
)
TOGETHER = (
    ("ttft.p99 < 1 s", "ttft.p99 > 2 s"),
    ("slo_attainment >= 99 %", "slo_attainment < 90 %"),
    ("usd < 5", "usd >= 5"),
)


@pytest.mark.parametrize("what", list(YAML))
def test_a_file_that_is_no_scenario(what: str, tmp_path: Path) -> None:
    path = written(tmp_path / "self.yaml", YAML[what])
    answer = fleetsim("show", path)
    assert not faults(answer)
    assert answer.code == (0 if what in ACCEPTED else 2), answer.out[:300]


@pytest.mark.parametrize("limits", [*((limit,) for limit in LIMITS), *TOGETHER])
def test_a_limit_that_says_nothing(limits: tuple[str, ...], tmp_path: Path) -> None:
    text = f"defaults: [first_run]\nslo: {json.dumps(limits)}\n"
    answer = fleetsim("show", written(tmp_path / "limits.yaml", text))
    assert answer.code == 2
    assert not faults(answer)


OVERRIDES = (
    "=",
    "=3",
    "a",
    "a=",
    "=a=b",
    "~",
    "~nothing",
    "~duration_s",
    "+gpu=l4",
    "++gpu=l4",
    "gpu=",
    "gpu=l4,h100",
    "gpu=[l4]",
    "gpu={a: 1}",
    "gpu@=l4",
    "gpu@pools=l4",
    "gpu@pools.a=l4",
    "gpu@pools.a.gpu.b=l4",
    "gpu@a:b=l4",
    "slo@x=chat",
    "hydra.run.dir=x",
    "hydra/launcher=x",
    "_target_=os.system",
    "traffic._target_=os.system",
    "question=${oc.env:HOME}",
    "question=${}",
    "x" * 30_000,
    "question=" + "x" * 30_000,
    "slo=" + "[" * DEEP + "]" * DEEP,
    "slo=" + "[" * 20 + "]" * 20,
    "a." * 100 + "b=1",
    "traffic.spikes[0].at_s=3",
    "traffic.spikes[-1].at_s=3",
    "traffic.spikes[x]=3",
    "traffic.spikes.0=3",
    "duration_s.x=3",
    "duration_s[0]=3",
    "pools.main.tp",
    "pools.=3",
    "pools..tp=3",
    ".duration_s=3",
    "duration_s.=3",
    "duration_s= =3",
    "duration_s='",
    'duration_s="',
    "duration_s=[1",
    "duration_s={",
    "duration_s=range(1,3)",
    "duration_s=glob(*)",
    "duration_s=interval(1,2)",
    "duration_s=choice(1,2)",
    "duration_s=sort(3,1)",
    "duration_s=int(3.5)",
    "duration_s=str(3)",
    "duration_s=extend_list(1)",
    "duration_s=1,2",
    "duration_s=1e",
    "duration_s=--1",
    "duration_s=0x10",
    "duration_s=1_000_000_000_000",
    "seed=1..",
    "seed=..3",
    "seed=3..1",
    "seed=1..3",
    "seed=a..b",
    "seed=-1..3",
    "seed=1..99999999999999999999",
    "\x1b[31m=3",
    "duration_s=\x1b[31m",
    "duration_s=\u202e3",
    "duration_s=３",
    "duratiön_s=3",
    "duration_s=\udcff",
    "\udcff=3",
    "duration_s=\n3",
    "duration_s=3\n",
    "",
    " ",
    "--all",
    "--jsn",
    "-x",
    "traffic=chat,code_completion",
    "traffic@classes.a=nothing",
    "classes.a.share=2",
    "classes={}",
    "pools={}",
    "tenants={}",
    "classes.default.name=3",
    "traffic.name=3",
    "pool.name=b",
    "autoscaler.law=",
    "autoscaler.law=x",
    "autoscaler.law=x.py:",
    "autoscaler.law=x.py:f g",
    "traffic.trace.file=",
    "traffic.trace={}",
    "faults=[{at_s: 10, replicas: 500}]",
    "faults=[{at_s: 10},{at_s: 10},{at_s: 10}]",
    "faults=[{at_s: 1e9}]",
    "faults=[{}]",
    "faults=[3]",
    "faults=3",
    "traffic.spikes=[{at_s: 601, height: 2, length_s: 3}]",
    "warmup_s=599.9999999999999",
    "traffic.curves.day=[0]",
    "traffic.curves={day: [" + ", ".join(["0"] * 24) + "]}",
    "traffic.output_tokens=0",
    "traffic.prompt_tokens=0",
    "traffic.prompt_tokens=0.4",
    "traffic.prompt_tokens={kind: exponential, mean: 0.5}",
    "traffic.prompt_tokens={kind: uniform, low: -5, high: 100}",
    "traffic.prompt_tokens={kind: exponential, mean: 5, max: 0.5}",
    "traffic.prompt_tokens={kind: lognormal, mu: 40, sigma: 5}",
    "traffic.prompt_tokens={kind: quantiles, q: [0], v: [0.2]}",
    "traffic.arrivals.rate_per_s=1e9",
    "runtime.block_size=17",
    "runtime.gpu_memory_utilization=1.0",
    "model=embedding_300m",
    "gpu.memory_bw_gb_s=3350e9",
    "gpu.usd_per_hour=4e4",
    "gpu.memory_gb=8e10",
    "price.usd_per_gpu_hour=-1",
)
HARMLESS = {
    "~nothing": 2,
    "seed=1..3": 2,
    "duration_s=3\n": None,
    "classes={}": None,
    "pools={}": None,
    "tenants={}": None,
    "--all": 0,
    "duration_s=1_000_000_000_000": 2,
    "traffic.prompt_tokens={kind: lognormal, mu: 40, sigma: 5}": 2,
    "duration_s= =3": None,
    "~duration_s": None,
    "duration_s=int(3.5)": 0,
    "duration_s=sort(3,1)": None,
    "duration_s=interval(1,2)": None,
    "duration_s=choice(1,2)": None,
    "duration_s=str(3)": 2,
    "warmup_s=599.9999999999999": None,
    "++gpu=l4": None,
    "+gpu=l4": None,
    "slo@x=chat": 2,
    "a=": 2,
}


def test_words_that_override_nothing() -> None:
    found = []
    for override in OVERRIDES:
        answer = fleetsim("show", "first_run", override)
        found += faults(answer)
        wanted = HARMLESS.get(override, 2)
        if wanted is not None and answer.code != wanted:
            found.append(f"{answer.code} where {wanted} is right: {override[:90]!r}")
    assert not found, told(found)


VERBS = (
    "run",
    "compare",
    "plan",
    "sweep",
    "sql",
    "show",
    "list",
    "plot",
    "why",
    "calibrate",
    "completion",
    "__complete",
    "no-such",
    "",
    "\x1b[31m",
)
ENDINGS = (
    (),
    ("",),
    ("--help",),
    ("--no-such",),
    ("no-such",),
    ("/",),
    ("/dev/null",),
    ("..",),
    ("\udcff",),
    ("\x1b[31m",),
    ("x" * 5000,),
    ("first_run", "--no-such"),
    ("first_run", "no-such"),
    ("first_run", "gpu=no-such"),
    ("latest", "class=\x1b[31m"),
    ("a\nb",),
    ("[/bold]",),
    ("first_run", "seed=1..2", "seed=3"),
    ("-1",),
    ("=",),
    ("first_run.yaml",),
    ("first_run", "first_run"),
)


@pytest.mark.parametrize("verb", VERBS)
def test_verbs_with_what_they_cannot_use(verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = []
    for ending in ENDINGS:
        if verb == "completion" and ending == ("--help",):
            continue
        found += faults(fleetsim(verb, *ending))
    assert not found, told(found)
    assert not list(tmp_path.iterdir())


CSV = {
    "nothing": b"",
    "a header alone": b"batch_size,kv_tokens,time_ms\n",
    "no header": b"1,2,3\n",
    "binary": bytes(range(256)) * 8,
    "no UTF-8": b"batch_size,time_ms\n\xff,\xfe\n",
    "an open quote": b'batch_size,time_ms\n"1,2\n',
    "a zip": b"PK\x03\x04" + bytes(100),
    "JSON": b'{"a": [1, 2]}',
    "deep JSON": b"[" * DEEP + b"]" * DEEP,
    "JSON of many digits": b'{"a": 1' + b"0" * 400 + b"}",
    "an escape": b"batch_size,time_ms\n\x1b[31m,3\n",
    "an escape in the header": b"batch_size,\x1b[31m\n1,3\n",
    "a column twice": b"batch_size,batch_size,time_ms\n1,1,3\n",
    **{
        f"a cell of {cell!r}": (
            "mode,batch_size,kv_tokens,prompt_tokens,time_ms\n"
            + f"decode,{cell},100,0,5\ndecode,2,100,0,{cell}\n"
        ).encode()
        for cell in (
            "",
            "-1",
            "0",
            "nan",
            "inf",
            "1e300",
            "1" + "0" * 400,
            "abc",
            "1;2",
            "0x10",
            "true",
            "\u202e1",
        )
    },
}


@pytest.mark.parametrize("what", list(CSV))
@pytest.mark.parametrize("ending", [".csv", ".json", ""])
def test_a_file_that_measures_nothing(what: str, ending: str, tmp_path: Path) -> None:
    answer = fleetsim("calibrate", written(tmp_path / f"steps{ending}", CSV[what]))
    assert answer.code == 2
    assert not faults(answer)


def test_the_users_own_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "conf" / "gpu"
    folder.mkdir(parents=True)
    found = []
    for number, (what, data) in enumerate(
        itertools.chain(YAML.items(), [("a package", b"# @package pools.a\nname: x\n")])
    ):
        written(folder / f"mine{number}.yaml", data)
        answer = fleetsim("show", "first_run", f"gpu=mine{number}")
        found += faults(answer)
        if answer.code != 2:
            found.append(f"{what}: accepted")
    found += faults(fleetsim("list", "gpu"))
    assert not found, told(found)


@pytest.mark.parametrize(
    "words",
    [
        ["warmup_s=599.9", "traffic.arrivals={kind: batch, requests: 5}"],
        ["warmup_s=30", "traffic.arrivals={kind: batch, requests: 5, at_s: 29.5}", "duration_s=40"],
    ],
)
def test_a_warm_up_that_leaves_no_request(words: list[str], tmp_path: Path) -> None:
    answer = fleetsim("run", "first_run", *words, f"output.dir={tmp_path / 'out'}")
    assert answer.code == 2
    assert not faults(answer)
    assert "warmup_s: " in answer.err
    assert not list(tmp_path.iterdir())
