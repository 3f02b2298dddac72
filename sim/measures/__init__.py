"""The measures of a run, each told once: name, unit, meaning, formula, what is better, and how it is labelled."""
