"""Is what the compiler's patches stand on still what it was? `scripts/check` asks.

    python scripts/internals.py            one line for each method that has changed; exit code 1 then
    python scripts/internals.py --print    the marks of the versions that are installed

sim/compile/linking.py replaces methods of numba, sim/compile/cuda.py of numba-cuda, and both call others that are not
public. A mark is a hash of a method's source; the marks below were looked at, version by version, and their parity proved.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import sys
import textwrap
from collections.abc import Iterator

#: Where a method is → marks under which the patches are known to hold.
KNOWN: dict[str, tuple[str, ...]] = {
    "numba.core.codegen:CPUCodeLibrary.finalize": ("751235266d09",),
    "numba.core.codegen:CPUCodeLibrary.add_linking_library": ("eebaedba03af",),
    "numba.core.codegen:CPUCodeLibrary._optimize_final_module": ("c0818ec73adf",),
    "numba.core.codegen:CPUCodeLibrary._get_module_for_linking": ("83975b285fa4",),
    "numba.core.codegen:CPUCodeLibrary._get_compiled_object": ("5216680f4aef",),
    "numba.core.codegen:CPUCodeLibrary.add_ir_module": ("20e4e4690aee",),
    "numba.core.cpu:CPUContext.insert_user_function": ("8771da35bdf8",),
    "numba.core.cpu:CPUContext.get_executable": ("60a478a733c3",),
    "numba.core.callconv:CPUCallConv.call_function": ("0934ca70463a",),
    "numba.core.dispatcher:Dispatcher.get_call_template": ("18c6c425c761",),
    "numba.cuda.dispatcher:CUDADispatcher.compile_device": ("735be3503498",),
    "numba.cuda.dispatcher:CUDADispatcher.get_call_template": ("c4e371adbc52",),
    "numba.cuda.codegen:CUDACodeLibrary.modules": ("ab9aa0b0abfc",),
    "numba.cuda.codegen:CUDACodeLibrary.get_function": ("82e7e7b665d4",),
}


WHAT_TO_DO = (
    "Read it beside {}, prove parity (scripts/numba_ends) and add the mark to scripts/internals.py; until then "
    "FLEETSIM_PLAIN_NUMBA=1 runs without patches"
)


def mark(place: str) -> str:
    """The mark of `module:Class.method`; what is wrong where there is no such method."""
    module, _, path = place.partition(":")
    try:
        found = importlib.import_module(module)
        for name in path.split("."):
            found = getattr(found, name)
        found = found.fget if isinstance(found, property) else found
        text = textwrap.dedent(inspect.getsource(found))
    except (ImportError, AttributeError, OSError, TypeError):
        return "gone"
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def changed(known: dict[str, tuple[str, ...]]) -> Iterator[str]:
    """A line for each method whose mark is not known; nothing for a package that is not installed."""
    for place, marks in known.items():
        if place.startswith("numba.cuda") and importlib.util.find_spec("numba_cuda") is None:
            continue  # what numba itself has under this name is not used
        if (found := mark(place)) not in marks:
            file = "sim/compile/cuda.py" if place.startswith("numba.cuda") else "sim/compile/linking.py"
            yield f"{place} is {found}, known are {', '.join(marks)}. {WHAT_TO_DO.format(file)}"


def main(words: list[str]) -> int:
    """Tell what has changed, or print the marks."""
    import numba

    if "--print" in words:
        print(f"numba {numba.__version__}")
        for place in KNOWN:
            print(f"{place} {mark(place)}")
        return 0
    lines = list(changed(KNOWN))
    for line in lines:
        print(f"numba {numba.__version__}: {line}", file=sys.stderr)
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
