"""Answers over seeds: the cheapest fleet that keeps limits, the most it carries, what a limit costs, what is robust."""
