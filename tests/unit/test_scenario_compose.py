"""Where scenarios and options are found, what a file may say, and what the command line adds."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.errors import InputError
from sim.scenario import catalogue
from sim.scenario.compose import compose, load_scenario, said_where, variants
from sim.scenario.describe import describe


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with its own scenarios/ and conf/."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scenarios").mkdir()
    (tmp_path / "conf" / "gpu").mkdir(parents=True)
    return tmp_path


def write(path: Path, text: str) -> str:
    """Write the file and return its name without ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path.stem


def test_own_scenario_comes_first(folder: Path) -> None:
    write(folder / "scenarios" / "first_run.yaml", "question: mine?\nduration_s: 7")
    scenario = load_scenario("first_run")
    assert (scenario.question, scenario.duration_s) == ("mine?", 7)


def test_a_scenario_by_its_path(folder: Path) -> None:
    write(folder / "stories" / "my story.yaml", "duration_s: 5")
    scenario = load_scenario("stories/my story.yaml")
    assert (scenario.name, scenario.duration_s) == ("my_story", 5)


def test_an_empty_scenario_is_the_default(folder: Path) -> None:
    write(folder / "scenarios" / "empty.yaml", "")
    assert load_scenario("empty").pools[0].runtime.name == "vllm"


def test_a_scenario_on_top_of_another(folder: Path) -> None:
    write(folder / "scenarios" / "base.yaml", "defaults:\n  - override /gpu: l4\nseed: 4\nduration_s: 50")
    write(folder / "scenarios" / "top.yaml", "defaults:\n  - base\n  - override /gpu: l40s\nduration_s: 60")
    scenario = load_scenario("top")
    assert (scenario.name, scenario.seed, scenario.duration_s) == ("top", 4, 60)
    assert scenario.pools[0].gpu.memory_gb == 48


def test_a_scenario_on_top_of_itself_is_refused(folder: Path) -> None:
    write(folder / "scenarios" / "a.yaml", "defaults: [b]")
    write(folder / "scenarios" / "b.yaml", "defaults: [a]")
    with pytest.raises(InputError, match="builds on itself"):
        load_scenario("a")


def test_own_option(folder: Path) -> None:
    packaged = (catalogue.conf_dir() / "gpu" / "l4.yaml").read_text()
    write(folder / "conf" / "gpu" / "l5.yaml", packaged.replace("memory_gb: 24", "memory_gb: 25"))
    assert load_scenario("first_run", ["gpu=l5"]).pools[0].gpu.memory_gb == 25
    assert load_scenario("first_run", ["gpu@pools.a.gpu=l5"]).pools[0].gpu.memory_gb == 25
    assert "l5" in catalogue.catalogue("gpu")["gpu"]


def test_own_option_is_gone_when_its_folder_is_left(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    test_own_option(folder)
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    with pytest.raises(InputError, match="'l5' is not one of"):
        load_scenario("first_run", ["gpu=l5"])


def test_own_option_with_a_packaged_name_is_refused_when_it_is_used(folder: Path) -> None:
    write(folder / "conf" / "gpu" / "l4.yaml", "name: other")
    assert load_scenario("first_run", ["gpu=h100"])
    with pytest.raises(InputError, match="give yours another name"):
        load_scenario("first_run", ["gpu=l4"])


def test_own_slo_option_holds_for_the_whole_scenario(folder: Path) -> None:
    write(folder / "conf" / "slo" / "mine.yaml", "slo: ['ttft.p99 < 3 s']")
    assert load_scenario("first_run", ["slo=mine"]).slo == ("ttft.p99 < 3 s",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("duration_s: 12:30:00", "mine.yaml:1: duration_s: YAML reads 12:30:00"),
        ("gpu: {_target_: os.system}", "mine.yaml:1: gpu._target_: keys that start with _"),
        ("question: ${oc.env:HOME}", "interpolation is not allowed"),
        ("hydra: {run: {dir: x}}", "hydra: no such key"),
        ("autoscaler: {kind: user, law: 'x.py:f'}", "law: code is named on the command line alone"),
        ("pools: {a: {autoscaler: {law: 'x.py:f'}}}", "law: code is named on the command line alone"),
        ("defaults:\n  - override /gpu: h10", "gpu: 'h10' is not one of"),
        ("defaults:\n  - override /gpuu: h100", "gpuu: no such group"),
        ("defaults:\n  - override gpu: h100", "is not an entry; write"),
        ("defaults:\n  - /gpu@pools.gpu: h100", "gpu@pools.gpu: gpu can be chosen for one pool"),
        ("defaults:\n  - /gpu@hydra.x.gpu: h100", "gpu can be chosen for one pool"),
        ("defaults:\n  - /../../etc/passwd: x", "is not an entry; write"),
        ("defaults:\n  - override /gpu: ../model/qwen3_8b", "is not one of"),
        ("defaults: 3", "must be a list of entries"),
        ("defaults:\n  - nothing_like_it", "'nothing_like_it' is not known"),
        ("sed: 3", "sed: no such key"),
    ],
)
def test_what_a_file_may_not_say(folder: Path, text: str, said: str) -> None:
    write(folder / "scenarios" / "mine.yaml", text)
    with pytest.raises(InputError) as caught:
        load_scenario("mine")
    assert len(caught.value.problems) == 1
    assert said in caught.value.problems[0]


def test_the_environment_stays_outside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "very-secret-word")
    for where in ("question: ${oc.env:SECRET}", "defaults:\n  - override /gpu: ${oc.env:SECRET}"):
        write(folder / "scenarios" / "mine.yaml", where)
        with pytest.raises(InputError) as caught:
            load_scenario("mine")
        assert "very-secret-word" not in str(caught.value)


def test_unknown_scenario_names_the_nearest() -> None:
    with pytest.raises(InputError, match=r"'spiky_hor' is not known; .*did you mean 'spiky_hour'"):
        load_scenario("spiky_hor")
    with pytest.raises(InputError, match=r"there is no file nowhere/x\.yaml"):
        load_scenario("nowhere/x.yaml")


def test_a_law_on_the_command_line_chooses_the_user_autoscaler() -> None:
    scaler = load_scenario("first_run", ["autoscaler.law=my.py:desired"]).pools[0].autoscaler
    assert (scaler.kind, scaler.law) == ("user", "my.py:desired")
    pools = load_scenario("first_run", ["pools.a.autoscaler.law=my.py:desired", "pools.b.tp=1"]).pools
    assert {pool.name: pool.autoscaler.kind for pool in pools} == {"a": "user", "b": "fixed"}


def test_overrides_in_hydras_grammar() -> None:
    overrides = [
        "seed=3",
        "+drain_s=5",
        "++warmup_s=7",
        "traffic.prompt_tokens={kind:constant,value:9}",
        "~slo",
    ]
    scenario = load_scenario("first_run", overrides)
    assert (scenario.seed, scenario.drain_s, scenario.warmup_s, scenario.slo) == (3, 5, 7, ())
    assert scenario.classes[0].prompt_tokens.value == 9


def test_an_item_of_a_list() -> None:
    scenario = load_scenario("spiky_hour", ["traffic.spikes.1.height=3"])
    assert scenario.classes[0].spikes[1].height == 3


def test_composing_twice_gives_the_same_and_leaves_nothing_behind() -> None:
    first = compose("two_models", ["gpu@pools.code.gpu=h200"])
    compose("first_run", ["gpu=l4"])
    assert compose("two_models", ["gpu@pools.code.gpu=h200"]) == first


def test_a_callers_own_hydra_stays_as_it_was() -> None:
    from hydra.core.global_hydra import GlobalHydra

    GlobalHydra.instance().clear()
    compose("first_run")
    assert not GlobalHydra.instance().is_initialized()
    own = object()
    GlobalHydra.instance().hydra = own  # type: ignore[assignment]
    compose("first_run")
    assert GlobalHydra.instance().hydra is own
    GlobalHydra.instance().clear()


def test_variants_are_the_product_of_the_lists() -> None:
    assert variants(["autoscaler=fixed,hpa", "seed=2"]) == {
        "fixed": ["seed=2", "autoscaler=fixed"],
        "hpa": ["seed=2", "autoscaler=hpa"],
    }
    two = variants(["autoscaler=fixed,hpa", "gpu=l4,h100"])
    assert list(two) == [
        "autoscaler=fixed gpu=l4",
        "autoscaler=fixed gpu=h100",
        "autoscaler=hpa gpu=l4",
        "autoscaler=hpa gpu=h100",
    ]
    assert list(variants(["seed=range(1,4)"])) == ["seed=1", "seed=2", "seed=3"]
    assert list(variants([])) == ["as it stands"]


@pytest.mark.parametrize(
    ("lists", "labels"),
    [
        (["pool.max_replicas=2,4"], ["max_replicas=2", "max_replicas=4"]),
        (["router=random,least_kv"], ["random", "least_kv"]),
        (["runtime.prefix_caching=true,false"], ["prefix_caching=true", "prefix_caching=false"]),
        (["traffic.spikes.0.height=3,4.5"], ["height=3", "height=4.5"]),
        (["traffic.spikes.0=1,2"], ["spikes.0=1", "spikes.0=2"]),
        (["slo=[],[a]"], ["slo=[]", "slo=[a]"]),
        (
            ["gateway.stations.tok.workers=1,2", "pool.max_replicas=4"],
            ["workers=1", "workers=2"],
        ),
        (
            ["pools.a.tp=1,2", "pools.b.tp=1", "pools.b.pp=1,2"],
            ["tp=1 pp=1", "tp=1 pp=2", "tp=2 pp=1", "tp=2 pp=2"],
        ),
        (
            ["pools.a.tp=1,2", "pools.b.tp=4,8"],
            ["a.tp=1 b.tp=4", "a.tp=1 b.tp=8", "a.tp=2 b.tp=4", "a.tp=2 b.tp=8"],
        ),
        (["gpu@pools.a.gpu=l4,h100"], ["l4", "h100"]),
    ],
)
def test_variants_are_called_by_what_differs(lists: list[str], labels: list[str]) -> None:
    assert list(variants(lists)) == labels


def test_an_option_of_limits_replaces_those_of_the_file(folder: Path) -> None:
    write(folder / "scenarios" / "mine.yaml", "slo: ['usd_per_hour < 5']")
    assert load_scenario("mine").slo == ("usd_per_hour < 5",)
    assert load_scenario("mine", ["slo=none"]).slo == ()
    assert "ttft.p99 < 1 s" in load_scenario("mine", ["slo=chat"]).slo
    write(folder / "scenarios" / "child.yaml", "defaults:\n  - mine\n  - override /slo: none")
    assert load_scenario("child").slo == ()
    write(folder / "scenarios" / "plain.yaml", "defaults: [mine]")
    assert load_scenario("plain").slo == ("usd_per_hour < 5",)


# ---- names that are not there -----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("story", "override", "said"),
    [
        (
            "two_models",
            "classes.chta.arrivals.rate_per_s=3",
            "no class 'chta'; allowed: chat, code; did you mean 'chat'?",
        ),
        ("two_models", "retry@classes.cod.retry=none", "retry@classes.cod.retry: there is no class 'cod'"),
        ("two_models", "pools.chta.max_replicas=3", "there is no pool 'chta'"),
        ("noisy_tenant", "tenants.nosiy.weight=2", "did you mean 'noisy'?"),
        ("first_run", "classes.chta.priority=1", "did you mean 'chat'?"),
        ("first_run", "classes.vip.priority=1", "no class 'vip'; allowed: chat (a new one"),
    ],
)
def test_a_misspelt_name_makes_nothing_new(story: str, override: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        load_scenario(story, [override])
    (line,) = caught.value.problems
    assert said in line


@pytest.mark.parametrize(
    ("story", "overrides", "names"),
    [
        ("two_models", ["classes.vip={model: qwen3_32b}", "classes.vip.priority=1"], ["chat", "code", "vip"]),
        ("two_models", ["traffic@classes.vip=chat", "classes.vip.model=qwen3_32b"], ["chat", "code", "vip"]),
        ("first_run", ["classes.chat.priority=1"], ["chat"]),
        ("first_run", ["classes.chat.share=0.5", "classes.code.share=0.5"], ["chat", "code"]),
        ("first_run", ["traffic.name=vip", "classes.vip.priority=1"], ["vip"]),
        ("first_run", ["classes={a: {}}", "classes.a.priority=1"], ["a"]),
    ],
)
def test_a_new_class_is_described_whole(story: str, overrides: list[str], names: list[str]) -> None:
    assert [entry.name for entry in load_scenario(story, overrides).classes] == names


def test_variants_have_a_limit_and_no_twins() -> None:
    with pytest.raises(InputError, match="more than 1000 variants"):
        variants(["seed=range(1,100)", "duration_s=range(1,100)"])
    with pytest.raises(InputError, match="names a value twice"):
        variants(["seed=1,1"])


def test_show_names_the_source_of_every_value() -> None:
    overrides = ["gpu.memory_gb=70", "pool.max_replicas=5"]
    scenario = load_scenario("first_run", overrides)
    rows = {row.key: row for row in describe(scenario, said_where("first_run", overrides))}
    assert rows["gpu.memory_gb"][1:] == (70, "GB", "command line")
    assert rows["pool.max_replicas"].source == "command line"
    assert rows["duration_s"][1:] == (600, "s", "scenario")
    assert "datasheet" in rows["gpu.memory_bw_gb_s"].source
    assert "skypilot" in rows["gpu.usd_per_hour"].source
    assert rows["runtime.block_size"].unit == "tokens"
    assert rows["metrics.source"].value == "outstanding"


@pytest.mark.parametrize("name", ["first_run", "spiky_hour", "two_models"])
def test_a_shown_key_is_one_that_can_be_overridden(name: str) -> None:
    scenario = load_scenario(name)
    values = [row for row in describe(scenario) if type(row.value) in (int, float)]
    assert load_scenario(name, [f"{row.key}={row.value!r}" for row in values]) == scenario
    assert len(values) > 40


def test_a_file_says_a_distribution_of_another_kind(folder: Path) -> None:
    write(folder / "scenarios" / "mine.yaml", "traffic:\n  prompt_tokens: {kind: constant, value: 9}")
    assert load_scenario("mine").classes[0].prompt_tokens.value == 9


def test_what_a_file_says_about_one_kind_is_dropped_with_it(folder: Path) -> None:
    text = "defaults:\n  - override /autoscaler: hpa\nautoscaler: {target: 7}\ngpu: {memory_gb: 70}"
    write(folder / "scenarios" / "mine.yaml", text)
    kept = load_scenario("mine", ["autoscaler=hpa_fast", "gpu=h200"]).pools[0]
    assert (kept.autoscaler.target, kept.gpu.memory_gb) == (7, 70)
    assert load_scenario("mine", ["autoscaler=queue"]).pools[0].autoscaler.kind == "queue"


def test_an_inherited_list_is_changed_for_one_pool_alone() -> None:
    scenario = load_scenario("two_models", ["pools.code.coldstart.stages[0].duration=3"])
    chat, code = (pool.coldstart.stages[0].duration for pool in scenario.pools)
    assert (chat.kind, code.kind, code.value) == ("lognormal", "constant", 3)
