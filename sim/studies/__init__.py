"""Studies: what is varied and how, planned as columns, run in shards that can be taken up again."""
