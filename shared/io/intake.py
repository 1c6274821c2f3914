"""What was decided about an input file, on its way from the reader to the JSON of the results.

The metadata of an image carry it as JSON text, because MONAI's collate takes neither None nor lists of any length. The
names are those of the results: "orientation" ("header", "recognised", "option", "unknown"), "hu" ("as stored", or how
they were repaired), "pixel_size", "warnings".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from monai.data import MetaTensor

INTAKE = "intake"


def facts_text(facts: Mapping[str, Any]) -> str:
    """What is known about a file as text for the metadata."""
    return json.dumps(facts, ensure_ascii=False)


def case_facts(image: MetaTensor) -> dict[str, Any]:
    """What was decided about the file of an image, for the JSON of its results; empty where nothing was noted."""
    text = image.meta.get(INTAKE, "{}") if isinstance(image, MetaTensor) else "{}"
    return json.loads(text if isinstance(text, str) else text[0])


def add_facts(image: MetaTensor, warnings: list[str] | tuple[str, ...] = (), **facts: Any) -> None:
    """Note more about the file of an image; warnings are added to those it has."""
    known = case_facts(image)
    known |= facts
    known["warnings"] = [*known.get("warnings", []), *warnings]
    image.meta[INTAKE] = facts_text(known)


def with_facts(document: dict[str, Any], image: MetaTensor) -> dict[str, Any]:
    """The JSON of a result with what was decided about its input, the warnings before those it has."""
    facts = case_facts(image)
    warnings = [*facts.pop("warnings", []), *document.get("warnings", [])]
    return {**document, **facts, "warnings": warnings}
