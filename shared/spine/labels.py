"""Names and numbers of vertebrae: the official VerSe convention, in cranio-caudal order.

1 to 7 are C1 to C7, 8 to 19 T1 to T12, 20 to 25 L1 to L6, 26 the sacrum, 27 the coccyx and 28 T13. Some label maps
use 26 and 27 for the sacral segments S1 and S2 instead: read both as the sacrum and write the official numbers.
"""

from collections.abc import Iterable

VERTEBRA_LABELS: dict[str, int] = {
    **{f"C{i}": i for i in range(1, 8)},
    **{f"T{i}": 7 + i for i in range(1, 13)},
    **{f"L{i}": 19 + i for i in range(1, 7)},
    "T13": 28,
}
SPINE_LABELS: dict[str, int] = {**VERTEBRA_LABELS, "sacrum": 26, "coccyx": 27}
SPINE_NAMES: dict[int, str] = {label: name for name, label in SPINE_LABELS.items()}
SEGMENT_LABELS: dict[str, int] = {"S1": 26, "S2": 27}  # unofficial use of the numbers of sacrum and coccyx

# every vertebra that a spine can have, from head to foot: T13 lies between T12 and L1
CRANIOCAUDAL: tuple[int, ...] = (*range(1, 20), 28, *range(20, 26), 26, 27)
_RANK = {label: rank for rank, label in enumerate(CRANIOCAUDAL)}


def craniocaudal_order(labels: Iterable[int]) -> list[int]:
    """The labels sorted from head to foot; KeyError for a number that is no spine label."""
    return sorted(labels, key=lambda label: _RANK[label])


def region_of(label: int) -> str:
    """The letter of a spine label's region: C, T, L or S (sacrum and coccyx)."""
    name = SPINE_NAMES[label]
    return name[0].upper() if label in VERTEBRA_LABELS.values() else "S"
