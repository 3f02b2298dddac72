"""What processes beside `scripts/gpu` do while it compiles.

NUMBA_DISABLE_JIT=1 python gpu_words.py REPLICAS REQUESTS    counts the words that a request touches; prints JSON
python gpu_words.py --compile                                compiles the host's loop into its cache
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]


def main() -> None:
    """Do what the command line says, no longer than the process lives that asked."""
    from gpu_host import end_with

    end_with(int(os.environ.get("FLEETSIM_PARENT") or os.getppid()))
    if sys.argv[1] == "--compile":
        from sim.engine.cpu import compiled_act, compiled_loop

        compiled_loop()
        compiled_act()
        return
    import numpy as np
    from gpu_cases import touched

    np.seterr(over="ignore")  # the digest's hashes wrap around
    print(json.dumps(touched(int(sys.argv[1]), int(sys.argv[2]))))


if __name__ == "__main__":
    main()
