"""What a pool's step times rest on: measured, from kernels, or modelled, with the error to expect and what was checked."""

from __future__ import annotations

from typing import NamedTuple

from sim.scenario.hardware import Coefficients, Grid, Law
from sim.steptime.gang import Gang

#: Mean error, in percent, of the median step over the well-behaved public operating points of vLLM 0.11 on H100 and
#: B200; docs/accuracy.md has them by group. (class, whether the model has routed experts)
EXPECTED = {("kernels", False): 6, ("kernels", True): 9, ("modelled", False): 9, ("modelled", True): 10}
CHECKED_ARCHITECTURES = ("hopper", "blackwell")
CHECKED_FORMATS = ("bf16", "fp16", "fp8", "mxfp4")
SEEN_ARCHITECTURES = ("ampere", "ada", "cdna3")
SEEN_FORMATS = ("fp8_weights", "int4")
FEW = " but for a few points"


class Basis(NamedTuple):
    """A pool's step times: their class, the expected error of it in percent, and what nothing measured has checked."""

    kind: str  # measured, published, kernels or modelled
    expected_error_percent: float | None  # None: what was fitted says its own
    unchecked: tuple[str, ...]

    @property
    def text(self) -> str:
        """One line for a person."""
        names = {
            "measured": "measured: fitted to rows of a file",
            "published": "published coefficients, not checked here",
            "kernels": "from measured kernels",
            "modelled": "modelled from shares of the GPU's peaks",
        }
        error = (
            ""
            if self.expected_error_percent is None
            else f", some {self.expected_error_percent:g} % off in the mean"
        )
        rest = f"; no measurement here checks {', '.join(self.unchecked)}" if self.unchecked else ""
        return names[self.kind] + (error if not self.unchecked else "") + rest


def basis_of(
    gang: Gang,
    spec: Law | Coefficients | Grid,
    kernels_source: str,
    is_eager: bool = False,
    part_of_gpu: str | None = None,
) -> Basis:
    """The basis of a pool's step times; `kernels_source` is the source of the kernels that the law chose, `part_of_gpu`
    what its replicas have instead of whole GPUs.
    """
    if isinstance(spec, Grid):
        return Basis("measured", None, ())
    if isinstance(spec, Coefficients):
        return Basis("published", None, ())
    kind = "modelled" if kernels_source == "roofline" else "kernels"
    beside = [] if part_of_gpu is None else [part_of_gpu]
    return Basis(kind, EXPECTED[kind, bool(gang.model.experts)], (*beside, *unchecked(gang, is_eager)))


def unchecked(gang: Gang, is_eager: bool = False) -> list[str]:
    """The parts of a gang (GPU, formats, parallelism) that no public point in docs/accuracy.md checks, or only a few do."""
    found = []
    architecture = gang.gpu.architecture
    if architecture not in CHECKED_ARCHITECTURES:
        found.append(f"{architecture.capitalize()} GPUs{FEW if architecture in SEEN_ARCHITECTURES else ''}")
    if gang.precision not in CHECKED_FORMATS:
        found.append(f"{gang.precision} weights{FEW if gang.precision in SEEN_FORMATS else ''}")
    if gang.model.attention == "mla" and architecture != "blackwell":
        found.append(f"MLA on {architecture.capitalize()}{FEW}")
    if gang.kv_precision != "bf16":
        found.append(f"a KV cache in {gang.kv_precision}{FEW}")
    more = (("pipeline parallelism", gang.pp), ("data-parallel attention", gang.dp))
    found += [name for name, size in more if size > 1]
    return found + ([f"eager mode{FEW}"] if is_eager else [])
