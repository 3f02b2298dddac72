"""Parquet and JSON out and in: schemas with units, files that appear whole or not at all."""
