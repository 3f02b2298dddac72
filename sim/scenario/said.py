"""What the rules between fields want to know about the user's own words."""

from __future__ import annotations

from typing import Protocol


class Said(Protocol):
    """What the user wrote about a pool: the key they used, and whether they said it at all."""

    def key(self, pool: str, *keys: str | int) -> str: ...

    def class_key(self, name: str, *keys: str | int) -> str: ...

    def has(self, pool: str, *keys: str | int) -> bool: ...
