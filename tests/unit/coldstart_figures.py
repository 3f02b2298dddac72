"""Published times of cold starts, and what the presets of conf/coldstart say for the same inputs.

    python -m tests.unit.coldstart_figures    # the table of docs/cold-starts.md

Every case has its inputs from its source: bytes, GPU, readers, captured sizes. A time without them is in no case.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import yaml
from pydantic import TypeAdapter

from sim.pack.coldstart import Subject, stage_time, stage_times, typical_s
from sim.scenario.coldstart import ColdStart
from sim.scenario.compose import load_scenario

CONF = Path(__file__).resolve().parents[2] / "conf" / "coldstart"
GIB = 2**30

RUNAI = "https://github.com/run-ai/runai-model-streamer/blob/master/docs/src/benchmarks.md"
RUNAI_ALT = "run-ai/runai-model-streamer@001e5881, another edition of the same benchmarks"
NVIDIA = "https://developer.nvidia.com/blog/reducing-cold-start-latency-for-llm-inference-with-nvidia-runai-model-streamer"
DYNAMO = "https://github.com/ai-dynamo/dynamo/tree/main/docs/blogs/dynamo-snapshot"
PROFILER = "https://arxiv.org/abs/2606.07362"
SERVERLESS = "https://arxiv.org/abs/2401.14351"
ANYSCALE = "https://www.anyscale.com/blog/loading-llama-2-70b-20x-faster-with-anyscale-endpoints"
TENSORFUSE = "tensorfuse blog (420 to 600 s; the geometric middle)"
VERTEX = "vertexcover blog"
AWS = "AWS Machine Learning Blog, Reducing container cold start times using SOCI index (15-20 GB in 4-6 minutes)"
INSTANT = "https://github.com/mgoin/instanttensor"
VLLM_LOG = "vLLM log in a public repository"

LLAMA_8B = Subject(16.06e9, layers=32, flops_per_token=15.0e9, peak_tflops=125)  # on an A10G
LLAMA2_7B = Subject(13.48e9, layers=32, flops_per_token=13.2e9, peak_tflops=312)  # on an A100
QWEN_18B = Subject(3.67e9, layers=24, flops_per_token=3.05e9, peak_tflops=312)
QWEN3_06B = Subject(
    1.50e9, layers=28, flops_per_token=1.19e9, peak_tflops=2250
)  # on a B200; the file holds its output layer
QWEN3_8B = Subject(16.38e9, layers=36, flops_per_token=15.1e9, peak_tflops=2250)
GPT_OSS = Subject(65.2e9, layers=36, flops_per_token=9.0e9, peak_tflops=2250)
EIGHTHS_TO = {n: (1, 2, 4, *range(8, n + 1, 8)) for n in (128, 256, 512, 1024)}
WITHIN = 15.0  # %


#: A model's short name → its figure.
MODELS = {
    "0.6B": "dyncold_Qwen3-0.6B",
    "8B": "dyncold_Qwen3-8B",
    "120b": "dyncold_gpt-oss-120b",
}


class Part(NamedTuple):
    """A stage of a preset, with what the source says otherwise."""

    preset: str
    stage: str
    said: Mapping[str, Any] = MappingProxyType({})


class Case(NamedTuple):
    """One published time."""

    figure: str  # its id in the collection of figures, or a word for where it is from
    what: str
    measured_s: float
    subject: Subject
    parts: tuple[Part, ...]
    source: str


def preset(name: str) -> ColdStart:
    """conf/coldstart/<name>.yaml as it stands."""
    raw = yaml.safe_load((CONF / f"{name}.yaml").read_text())
    raw["stages"] = [{"kind": "fixed", **stage} for stage in raw["stages"]]
    return TypeAdapter(ColdStart).validate_python(raw)


def ours_s(case: Case) -> float:
    """The medians of the case's stages, one after the other."""
    total = 0.0
    for part in case.parts:
        stage = next(stage for stage in preset(part.preset).stages if stage.name == part.stage)
        total += float(np.median(stage_time(replace(stage, **part.said), case.subject)[0]))
    return total


def error(case: Case) -> float:
    """In % of what was measured."""
    return 100 * (ours_s(case) / case.measured_s - 1)


# ---- the cases ----------------------------------------------------------------------
def load(preset: str, **said: Any) -> tuple[Part, ...]:
    return (Part(preset, "weights", said),)


def at(gib_s: float) -> tuple[Part, ...]:
    """Weights at the rate that a source states of its storage."""
    return load("network_fs", bandwidth_gb_s=gib_s * GIB / 1e9, rank_gb_s=None, setup_s=0.0)


def started(*weights: Part, compiled: bool = True, **graphs: Any) -> tuple[Part, ...]:
    """A whole start of vLLM with its compile cache, the container running."""
    compiles = (Part("warm_cache", "compile"),) if compiled else ()
    rest = (Part("warm_cache", "warmup"), Part("warm_cache", "graphs", graphs))
    return (Part("warm_cache", "server"), *weights, *compiles, *rest)


GP3 = {"bandwidth_gb_s": 1.049}
#: (figure, loader, preset, what the source says otherwise, {readers: seconds})
BY_READERS: tuple[tuple[str, str, str, dict[str, Any], dict[int, float]], ...] = (
    (
        "rai_gp3_stream",
        "gp3, streamer",
        "cloud_disk_streamer",
        GP3,
        {1: 47.56, 4: 14.43, 8: 14.42, 16: 14.34},
    ),
    (
        "rai_io2_stream",
        "io2, streamer",
        "cloud_disk_streamer",
        {},
        {1: 43.71, 4: 11.19, 8: 7.53, 16: 7.61, 20: 7.62},
    ),
    ("rai_s3_stream", "S3, streamer", "object_store_streamer", {}, {4: 28.24, 16: 8.45, 32: 4.88, 64: 5.01}),
    (
        "rai_gp3_tens",
        "gp3, Tensorizer",
        "cloud_disk_tensorizer",
        GP3,
        {1: 50.74, 4: 17.38, 8: 16.49, 16: 16.11, 32: 17.18, 64: 16.44, 100: 16.81},
    ),
    (
        "rai_io2_tens",
        "io2, Tensorizer",
        "cloud_disk_tensorizer",
        {},
        {1: 43.85, 4: 14.44, 8: 10.36, 16: 10.61, 32: 10.95},
    ),
    (
        "rai_s3_tens",
        "S3, Tensorizer",
        "object_store",
        {},
        {8: 86.05, 16: 37.36, 32: 48.67, 64: 41.49, 80: 41.43},
    ),
)
#: image of a process in GiB → seconds by method
RESTORED = {
    "Qwen3-0.6B": (6.2, 6.8, 2.9, 2.4),
    "Qwen3-8B": (26, 24, 11, 4.7),
    "Qwen3-14B": (47, 44, 19, 6.8),
    "Qwen3-32B": (74, 69, 31, 9.9),
    "Llama-3.3-70B-FP8": (86, 81, 36, 11),
    "gpt-oss-120b": (129, 119, 54, 15),
    "Qwen2.5-72B": (164, 126, 66, 20),
}
#: what one stream of upstream CRIU and of asynchronous reads moves, GB/s
METHODS = {"upstream CRIU": 1.16, "asynchronous reads": 2.62, "parallel reads": None}


def weight_cases() -> Iterator[Case]:
    """Weights from disks, object stores, network file systems and the page cache."""
    for figure, name, conf, said, found in BY_READERS:
        for readers, seconds in found.items():
            parts = load(conf, readers=readers, **said)
            yield Case(
                figure,
                f"Llama-3-8B, {name}, {readers} reader{'s' * (readers > 1)}",
                seconds,
                LLAMA_8B,
                parts,
                RUNAI,
            )
    for name, seconds, parts in (
        ("gp3", 14.36, load("cloud_disk_streamer", readers=16, **GP3)),
        ("io2", 7.6, load("cloud_disk_streamer")),
        ("S3", 4.24, load("object_store_streamer")),
        ("WEKA, 4.28 GiB/s", 3.48, at(4.28)),
        ("VAST, 2.57 GiB/s", 5.78, at(2.57)),
    ):
        yield Case("rai_alt", f"Llama-3-8B, {name}, streamer", seconds, LLAMA_8B, parts, RUNAI_ALT)
    yield Case("figures", "Llama-3-8B, gp3, safetensors", 47.99, LLAMA_8B, load("cloud_disk"), NVIDIA)
    io2 = load("cloud_disk", bandwidth_gb_s=2.0)
    yield Case("rai_io2_st", "Llama-3-8B, io2, safetensors", 47, LLAMA_8B, io2, RUNAI)
    yield Case("figures", "7B, 14 GB, page cache", 3.2, Subject(14e9), load("warm_cache"), VLLM_LOG)
    yield Case("prof_7b_stages", "Llama-2-7B, local disk", 7.48, LLAMA2_7B, load("local_nvme"), PROFILER)
    yield Case("prof_18b", "Qwen-1.8B, local disk", 2.1, QWEN_18B, load("local_nvme"), PROFILER)
    yield Case("sllm_base", "OPT-30B, local disk", 34, Subject(60e9), load("local_nvme"), SERVERLESS)
    yield Case("sllm_base", "LLaMA-2-70B, local disk", 84, Subject(130e9), load("local_nvme"), SERVERLESS)
    line = load("local_nvme", bandwidth_gb_s=5.0, rank_gb_s=None, setup_s=0.0)
    yield Case("sllm_dl", "130 GB over 5 GB/s", 26, Subject(130e9), line, SERVERLESS)
    yield Case(
        "not in it",
        "DeepSeek-R1 on 8 H200, safetensors",
        160,
        Subject(688.6e9, ranks=8),
        load("local_nvme"),
        INSTANT,
    )
    yield Case(
        "not in it",
        "Qwen3-30B-A3B on one H200, safetensors",
        57.4,
        Subject(61.1e9),
        load("local_nvme"),
        INSTANT,
    )
    card = load("object_store_streamer", bandwidth_gb_s=12.5)
    yield Case(
        "anyscale70b", "Llama-2-70B, S3, 100 Gbit/s, 8 A100", 20, Subject(140e9, ranks=8), card, ANYSCALE
    )
    for name, subject, seconds in (
        ("0.6B", QWEN3_06B, 1.07),
        ("8B", QWEN3_8B, 3.78),
        ("120b", GPT_OSS, 13.57),
    ):
        yield Case(MODELS[name], f"{name}, NFS, model load", seconds, subject, load("network_fs"), DYNAMO)
    for name, subject, seconds in (
        ("0.6B", QWEN3_06B, 0.151),
        ("8B", QWEN3_8B, 1.822),
        ("120b", GPT_OSS, 9.223),
    ):
        parts = load("network_fs", rank_gb_s=None, setup_s=0.0)
        yield Case("dyngms_pvc", f"{name}, NFS, weights read in parallel", seconds, subject, parts, DYNAMO)


def snapshot_cases() -> Iterator[Case]:
    """Process images and GPU memory restored; the images' sizes are the source's."""
    for name, (gib, *found) in RESTORED.items():
        for (method, rate), seconds in zip(METHODS.items(), found, strict=True):
            said = {"times": 0.0, "plus_gb": gib * GIB / 1e9, "rank_gb_s": rate}
            parts = load("snapshot", **said)
            yield Case(
                f"dynsnap_{name}", f"{name}, {gib:g} GiB, {method}", seconds, Subject(0.0), parts, DYNAMO
            )
    for name, subject, gib, cuda, wake, totals in (
        ("0.6B", QWEN3_06B, 6.2, 0.894, 0.165, (7.948, 3.493)),
        ("8B", QWEN3_8B, 26, 2.795, 0.45, (27.874, 8.058)),
        ("120b", GPT_OSS, 129, 14.054, 1.53, (135.084, 31.121)),
    ):
        figure = MODELS[name].replace("dyncold", "dynrestore")
        image = {"times": 0.0, "plus_gb": gib * GIB / 1e9}
        parts = (Part("snapshot", "load", image), Part("snapshot", "warmup"))
        yield Case(figure, f"{name}, CUDA restore", cuda, subject, parts[:1], DYNAMO)
        yield Case(figure, f"{name}, wake", wake, subject, parts[1:], DYNAMO)
        for method, seconds in zip(("upstream CRIU", "parallel reads"), totals, strict=True):
            read = load("snapshot", rank_gb_s=METHODS[method], **image)
            yield Case(figure, f"{name}, whole restore, {method}", seconds, subject, (*read, *parts), DYNAMO)


def image_cases() -> Iterator[Case]:
    """Images pulled and unpacked; compressed sizes are taken as half of what is unpacked."""
    for figure, name, gb, seconds, source in (
        ("img_overlay", "10 GB image, compressed", 20.0, (420 * 600) ** 0.5, TENSORFUSE),
        ("img_gptoss", "13 GB image, compressed", 26.0, 571.0, VERTEX),
        ("img_llama1b", "2.4 GB image, compressed", 4.8, 91.0, VERTEX),
        ("not in it", "15 GB image, unpacked", 15.0, 240.0, AWS),
        ("not in it", "20 GB image, unpacked", 20.0, 360.0, AWS),
    ):
        subject = Subject(0.0, unpacked_bytes=gb * 1e9)
        yield Case(figure, name, seconds, subject, (Part("object_store", "unpack"),), source)


def engine_cases() -> Iterator[Case]:
    """Compilation, CUDA graphs, and whole starts."""
    compiled = (Part("warm_cache", "compile"),)
    yield Case("prof_7b_stages", "Llama-2-7B, compile, cached", 8.28 + 7.43, LLAMA2_7B, compiled, PROFILER)
    yield Case("prof_18b", "Qwen-1.8B, compile, cached", 6.7 + 5.8, QWEN_18B, compiled, PROFILER)
    yield Case(
        "prof_7b_stages",
        "Llama-2-7B, KV profiling",
        2.23,
        LLAMA2_7B,
        (Part("warm_cache", "warmup"),),
        PROFILER,
    )
    for largest, seconds, engine, wall in (
        (1024, 7.62, 25.56, 50.95),
        (512, 2.92, 21.0, 46.15),
        (128, 0.83, 18.63, 43.94),
        (1, 0.35, 18.41, 43.34),
    ):
        said = {"graph_sets": 1, "graph_sizes": EIGHTHS_TO.get(largest, (1,))}
        parts = (Part("warm_cache", "graphs", said),)
        yield Case("prof_7b_graphs", f"Llama-2-7B, graphs to {largest}", seconds, LLAMA2_7B, parts, PROFILER)
        engine_parts = (*compiled, Part("warm_cache", "warmup"), *parts)
        yield Case(
            "prof_7b_init",
            f"Llama-2-7B, engine, graphs to {largest}",
            engine,
            LLAMA2_7B,
            engine_parts,
            PROFILER,
        )
        whole = started(*load("local_nvme"), **said)
        yield Case(
            "prof_7b_total", f"Llama-2-7B, whole start, graphs to {largest}", wall, LLAMA2_7B, whole, PROFILER
        )
    said = {"graph_sets": 1, "graph_sizes": EIGHTHS_TO[1024]}
    yield Case(
        "prof_18b",
        "Qwen-1.8B, graphs to 1024",
        3.46,
        QWEN_18B,
        (Part("warm_cache", "graphs", said),),
        PROFILER,
    )
    for name, subject, compiling, graphs, whole_s in (
        ("0.6B", QWEN3_06B, 16.67, 2.9, 52.686),
        ("8B", QWEN3_8B, 18.95, 4.04, 58.664),
        ("120b", GPT_OSS, 15.67, 13.03, 85.473),
    ):
        yield Case(MODELS[name], f"{name}, compile", compiling, subject, compiled, DYNAMO)
        yield Case(MODELS[name], f"{name}, graphs", graphs, subject, (Part("warm_cache", "graphs"),), DYNAMO)
        yield Case(
            MODELS[name], f"{name}, whole start", whole_s, subject, started(*load("network_fs")), DYNAMO
        )
    old = {
        "compiled": False,
        "graph_sets": 1,
        "graph_sizes": EIGHTHS_TO[256],
    }  # vLLM 0.5: nothing was compiled
    for name, seconds, weights in (
        ("gp3, safetensors", 66.13, load("cloud_disk")),
        ("gp3, streamer", 35.08, load("cloud_disk_streamer", readers=16, **GP3)),
        ("gp3, Tensorizer", 36.19, load("cloud_disk_tensorizer", readers=16, **GP3)),
        ("io2, safetensors", 62.69, load("cloud_disk", bandwidth_gb_s=2.0)),
        ("io2, streamer", 28.28, load("cloud_disk_streamer")),
        ("io2, Tensorizer", 30.88, load("cloud_disk_tensorizer")),
        ("S3, streamer", 23.18, load("object_store_streamer")),
        ("S3, Tensorizer", 65.18, load("object_store")),
    ):
        yield Case(
            "rai_total",
            f"Llama-3-8B, {name}, whole start",
            seconds,
            LLAMA_8B,
            started(*weights, **old),
            RUNAI,
        )


CASES = (*weight_cases(), *image_cases(), *engine_cases(), *snapshot_cases())


#: What is off by more than WITHIN → why.
EXPLAINED = {
    "Llama-3-8B, io2, Tensorizer, 4 readers": "the source's own streamer reads as much with 4 readers in 11.2 s",
    "Llama-3-8B, S3, Tensorizer, 32 readers": "the source has 37.4 s with 16 readers and 41.5 s with 64: one run",
    "Qwen-1.8B, local disk": "0.5 s before the first byte is too much here: at 1.8 GB/s alone 2.04 s",
    "Qwen3-30B-A3B on one H200, safetensors": "1.06 GB/s from a disk that is not stated, where others gave 1.6 to 1.8",
    "0.6B, NFS, model load": "a quarter of a second: what comes before the first byte, 0.5 s here, differs by model",
    "0.6B, NFS, weights read in parallel": "0.02 s",
    "120b, NFS, weights read in parallel": "7.1 GB/s where the 8B was read at 9.0 from the same volume; 8.6 here",
    "10 GB image, compressed": "420 to 600 s in the source, and that it unpacks to twice as much is assumed",
    "15 GB image, unpacked": "15 to 20 GB in 240 to 360 s: the source pairs no size with a time",
    "Llama-2-7B, KV profiling": "0.4 s; the stage is one time for all models",
    "0.6B, whole start": "with Dynamo 30 s pass before the model is loaded, where vLLM alone took 14 to 18; 20 s here",
    "8B, whole start": "the same",
    "120b, compile": "0.43 s a layer, where four other models took 0.49 to 0.6",
    "120b, graphs": "a mixture of experts in MXFP4 captures three times as long as a dense model: not in the law",
    "120b, whole start": "its graphs, 10 s of tuning kernels, and Dynamo's processes",
    "Llama-3-8B, S3, streamer, whole start": "18 s beside the load; the source's eight starts have 16 to 28, ours 24",
    "Qwen3-0.6B, 6.2 GiB, asynchronous reads": "its image was read at 2.3 GB/s, larger ones at 2.5 to 2.7",
    "Qwen3-0.6B, 6.2 GiB, parallel reads": "at the rate of the others 1.6 s pass before its first byte, 1.05 s here",
    "0.6B, whole restore, parallel reads": "the same, and 0.08 s of an agent",
    "Qwen2.5-72B, 164 GiB, upstream CRIU": "1.4 GB/s from one stream, where the six other images came at 0.98 to 1.16",
    "Llama-3-8B, S3, streamer": "the other edition has 4.88 s; the rate here is that one's",
}
#: Figures of the collection that no case has → why.
LEFT_OUT = {
    "dyngms_nvme": "a bound, and no size for each model",
    "dynsnap_kv_release": "sizes of images, no time",
    "sleep": "sleep and wake have a table of their own above; of whole starts the disk is not stated",
    "sllm_lora": "a ratio",
    "pega": "pinning host memory: a host KV cache is not simulated",
    "spark": "a range from a forum; neither model nor bytes",
    "modal": "neither what is read nor over what",
    "img_share": "shares",
    "img_nogzip": "a ratio",
    "img_lazy": "a ratio; lazy pulling is not simulated",
    "img_grab": "a ratio; lazy pulling is not simulated",
    "node": "times of whole nodes, no bytes: the stages of nodes, and object_store's provision, are from them",
    "fma_h100": "a whole start; the model is not stated",
    "mig": "changes of MIG: no bytes; mig_create_s of a node group is from them",
    "nccl_ring": "48,000 and 96,000 GPUs",
}


def table() -> str:
    """The table of docs/cold-starts.md."""
    lines = [
        "| figure | what | source | measured, s | here, s | error | why |",
        "|---|---|---|---|---|---|---|",
    ]
    numbers = list(dict.fromkeys(case.source for case in CASES))
    for case in CASES:
        number = numbers.index(case.source) + 1
        lines.append(
            f"| {case.figure} | {case.what} | [{number}] | {case.measured_s:.3g} | {ours_s(case):.3g} "
            f"| {error(case):+.0f} % | {EXPLAINED.get(case.what, '')} |"
        )
    return "\n".join([*lines, "", *(f"- [{n}] {source}" for n, source in enumerate(numbers, 1))])


def left_out() -> str:
    """What the table has not, as the page lists it."""
    return "\n".join(f"| {figure} | {why} |" for figure, why in LEFT_OUT.items())


def headline() -> str:
    """How many of them are within WITHIN, in one sentence."""
    errors = np.abs([error(case) for case in CASES])
    return (
        f"{int((errors <= WITHIN).sum())} of {len(errors)} published times are within {WITHIN:g} %: "
        f"median error {np.median(errors):.0f} %, mean {errors.mean():.0f} %."
    )


# ---- presets ----------------------------------------------------------------------
#: the models of the page's table of presets, 16, 141 and 671 GB
SIZES = (
    ("model=llama_3_1_8b", "gpu=h100"),
    ("model=llama_3_1_70b", "gpu=h100", "pool.tp=4"),
    ("model=deepseek_v3", "gpu=h200", "pool.tp=8", "pool.precision=fp8"),
)


def preset_s(name: str) -> list[float]:
    """Seconds of a preset's cold start at every stage's median, for each of the models."""
    pools = (load_scenario("first_run", [*size, f"coldstart={name}"]).pools[0] for size in SIZES)
    return [typical_s(stage_times(pool)) for pool in pools]


if __name__ == "__main__":
    for path in sorted(CONF.glob("*.yaml")):
        print(f"| `{path.stem}` | " + " | ".join(f"{s:.3g}" for s in preset_s(path.stem)) + " |")
    print(f"\n{headline()}\n\n{table()}\n\n{left_out()}")
