"""The version of everything that records hold: columns, keys and file names."""

SCHEMA_VERSION = 2  # raised when a column or key changes its name, unit or meaning, or goes
