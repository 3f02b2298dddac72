"""Where names of points go, so that they can be read: beside the point, where nothing else is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

CHARACTER = 6.1  # width of one at font size 11, px
LINE = 13.0  # height of a line, px
GAP = 9.0  # from the point's middle to its name, px
POINT = 6.0  # half of what a point covers, px


class Box(NamedTuple):
    """A rectangle in px, y downwards."""

    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: Box) -> bool:
        """Whether the two share any area."""
        apart = self.right <= other.left or other.right <= self.left
        return not (apart or self.bottom <= other.top or other.bottom <= self.top)


class Place(NamedTuple):
    """Where a name is drawn: its offset from the point in px, and which of its ends is there."""

    dx: float
    dy: float
    align: str


def place_labels(
    points: Sequence[tuple[float, float]], names: Sequence[str], size: tuple[float, float]
) -> list[Place | None]:
    """A place for each point's name inside a panel of `size` (px), None where there is no room for it."""
    taken = [Box(x - POINT, y - POINT, x + POINT, y + POINT) for x, y in points]
    places: list[Place | None] = []
    for point, name in zip(points, names, strict=True):
        place = next((p for p in _tries() if _is_free(_box(point, name, p), taken, size)), None)
        places.append(place)
        if place is not None:
            taken.append(_box(point, name, place))
    return places


def _tries() -> list[Place]:
    """Right of the point, above, below, left, then further off on the right and on the left."""
    near = [Place(GAP, 0.0, "left"), Place(0.0, -1.1 * LINE, "center"), Place(0.0, 1.1 * LINE, "center")]
    far = [Place(GAP, -LINE, "left"), Place(GAP, LINE, "left")]
    return [*near, Place(-GAP, 0.0, "right"), *far, Place(-GAP, -LINE, "right"), Place(-GAP, LINE, "right")]


def _box(point: tuple[float, float], name: str, place: Place) -> Box:
    width = CHARACTER * len(name)
    x, y = point[0] + place.dx, point[1] + place.dy
    left = x - {"left": 0.0, "center": width / 2, "right": width}[place.align]
    return Box(left, y - LINE / 2, left + width, y + LINE / 2)


def _is_free(box: Box, taken: Sequence[Box], size: tuple[float, float]) -> bool:
    inside = box.left >= 0 and box.top >= 0 and box.right <= size[0] and box.bottom <= size[1]
    return inside and not any(box.overlaps(other) for other in taken)
