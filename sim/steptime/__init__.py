"""How long one step of a replica's engine takes: tables of whole picoseconds, made before a run."""

from sim.steptime.make import make_step_table, max_model_len, pool_basis
from sim.steptime.table import StepTable, simple_table

__all__ = ["StepTable", "make_step_table", "max_model_len", "pool_basis", "simple_table"]
