"""A column of requests.parquet: at most two files."""

from __future__ import annotations

from pathlib import Path

from tests.how_to_add.kit import Copy

FIELD = """    kv_blocks = Field("KV blocks that its prompt and answer take at its replica", unit="blocks", begin=-1)
    left_ps = Field("when its row was written", begin=-1)"""
RULE = """        if slot.replica >= 0:
            size = params.pool[state.replica[slot.replica].pool].block_size
            record.kv_blocks = (slot.prompt + slot.output + size - 1) // size
        record.left_ps = slot.last_ps"""


def test_a_request_column_takes_two_files(tmp_path: Path) -> None:
    copy = Copy(tmp_path)
    copy.put("sim/model/tables/record.py", after='    reason = Field("why it was not completed")', text=FIELD)
    copy.put("sim/model/record/request_record.py", after="        record.reason = reason", text=RULE)
    assert len(copy.touched) <= 2, copy.touched
    told = copy.ask("""
from sim.records.requests import requests_table
ran = run()
table = requests_table(ran.scenario, ran.result)
field = table.schema.field("kv_blocks")
tell({
    "blocks": table["kv_blocks"].to_pylist(),
    "about": [field.metadata[b"unit"].decode(), field.metadata[b"means"].decode()],
    "same": table["left_ps"].to_pylist() == table["last_token_ps"].to_pylist(),
    "s": table["left_s"].to_pylist() == table["last_token_s"].to_pylist(),
    "outcome": table["outcome"].to_pylist(),
})
""")
    done = [
        blocks
        for blocks, outcome in zip(told["blocks"], told["outcome"], strict=True)
        if outcome == "completed"
    ]
    assert done
    assert set(done) == {20}, "300 + 20 tokens in blocks of 16"
    assert told["about"] == ["blocks", "KV blocks that its prompt and answer take at its replica"]
    assert told["same"]
    assert told["s"], "an instant is written twice: in seconds, and exact"
