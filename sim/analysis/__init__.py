"""What a run's numbers mean: percentiles, cost, utilisation, verdicts and comparisons."""
