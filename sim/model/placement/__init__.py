"""Where a workload goes: slices of a GPU, scores of nodes, fragmentation, queues with quotas."""
