"""A run that was kept, told in the formats of other tools: timelines, metrics, alert rules, reports of tests."""
