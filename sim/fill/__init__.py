"""The tables of a run, filled by field name from plain numbers: no scenario is known here."""
