"""A stage of a replica's life: at most three files."""

from __future__ import annotations

from pathlib import Path

from tests.how_to_add.kit import Copy

START = """# The image is scanned before it may run.
name: scanned
stages:
  - name: image
    duration: {kind: constant, value: 4}
  - name: scan
    duration: {kind: constant, value: 6}
  - name: engine
    duration: {kind: constant, value: 2}
source: "made up"
"""


def test_a_stage_takes_three_files(tmp_path: Path) -> None:
    """An image scan, with a time of its own, seen between pulling the image and loading weights."""
    copy = Copy(tmp_path)
    copy.put("sim/stages.py", after='    "image_pull",', text='    "image_scan",')
    copy.put("sim/stages.py", after='    "warmup": "engine_start",', text='    "scan": "image_scan",')
    copy.new("conf/coldstart/scanned.yaml", START)
    assert len(copy.touched) <= 3, copy.touched
    told = copy.ask(
        """
from sim.records.timeseries import timeseries_table
ran = run()
table = timeseries_table(ran.scenario, ran.result)
tell({name: table[name].to_pylist() for name in ("time_s", "image_pull", "image_scan", "engine_start", "ready")})
""",
        "coldstart=scanned",
        "autoscaler.replicas=2",
        "pool.initial_replicas=1",
        "pool.min_replicas=0",
        "output.sample_interval_s=1",
    )
    seen = [
        [told[name][i] for name in ("image_pull", "image_scan", "engine_start", "ready")]
        for i in (1, 3, 5, 9, 11, 13)
    ]
    assert seen == [[1, 0, 0, 1], [1, 0, 0, 1], [0, 1, 0, 1], [0, 1, 0, 1], [0, 0, 1, 1], [0, 0, 0, 2]]
