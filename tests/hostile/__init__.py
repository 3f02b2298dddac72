"""Malformed input of every kind: each is told in one line, with exit code 2, and nothing absurd is accepted."""
