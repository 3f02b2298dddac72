"""Pictures of a cluster: GPUs over time, cold starts step by step, the bill by line."""
