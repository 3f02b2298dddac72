"""python -m tests.laws.repeat SEED…: check every law on the fleets of some seeds."""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from laws.test_laws import check_seeds

    check_seeds(range(int(sys.argv[1]), int(sys.argv[-1]) + 1))
    print("every law holds")
