"""Machine code as a file: taken from numba once, loaded afterwards by LLVM alone, without importing numba.

An entry point takes int64s and returns one. numba compiles it to a C function (result's address, error's address, int64s
…) → status; nothing in it needs numba at run time.
"""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable
from typing import Any, NamedTuple


class ObjectCode(NamedTuple):
    """An object file and what is needed to call what is in it."""

    name: str  # of the function
    n_argument: int  # int64s
    outside: list[str]  # names that the process must have
    code: bytes


def object_code(dispatcher: Any) -> ObjectCode:
    """The object file of a numba dispatcher that was compiled for int64s, once."""
    (signature,) = dispatcher.overloads
    made = dispatcher.overloads[signature]
    module = made.library._final_module
    outside = [
        part.name
        for part in (*module.functions, *module.global_variables)
        if part.is_declaration and not part.name.startswith("llvm.")
    ]
    code = made.library._get_compiled_object()
    return ObjectCode(made.fndesc.llvm_func_name, len(made.fndesc.argtypes), outside, code)


def packed(made: ObjectCode) -> bytes:
    """An object file with its description in a line before it."""
    about = json.dumps([made.name, made.n_argument, made.outside])
    return about.encode() + b"\n" + made.code


def unpacked(data: bytes) -> ObjectCode:
    """What `packed` packed."""
    about, _, code = data.partition(b"\n")
    name, n_argument, outside = json.loads(about)
    return ObjectCode(name, n_argument, outside, code)


def processor() -> str:
    """The processor that code is compiled for: its name and what it can do."""
    import llvmlite.binding as llvm

    return f"{llvm.get_host_cpu_name()} {llvm.get_host_cpu_features().flatten()}"


def loaded(made: ObjectCode) -> Callable[..., int] | None:
    """The function in an object file; None where it needs a name that this process does not have."""
    import llvmlite.binding as llvm

    if not all(hasattr(ctypes.pythonapi, name) for name in made.outside):
        return None  # LLVM would end the process
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(jit=True)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    engine.add_object_file(llvm.ObjectFileRef.from_data(made.code))
    engine.finalize_object()
    address = engine.get_function_address(made.name)
    if not address:
        return None
    words = [ctypes.c_int64] * made.n_argument
    function = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, *words)(address)

    def call(*arguments: int) -> int:
        result = ctypes.c_int64()
        if function(ctypes.addressof(result), None, *arguments):
            raise RuntimeError(f"{made.name} ended with an error")
        return result.value

    call.engine = engine  # type: ignore[attr-defined]  # the code is gone with it
    return call
