"""Layout, metadata, package and configs of a bundle, as far as files tell."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch
from monai.bundle import ConfigParser, ReferenceResolver

from ci.package import package_bundle
from tests.bundles.conftest import ROOT, Bundle
from tests.bundles.processes import CONFIGS

FILES = [
    "LICENSE",
    "configs/metadata.json",
    "configs/logging.conf",
    "configs/train.json",
    "configs/evaluate.json",
    "configs/inference.json",
    "configs/inference_trt.json",
    "configs/multi_gpu_train.json",
    "configs/multi_gpu_inference.json",
    "docs/README.md",
    "docs/data_license.txt",
    "models/model.pt",
    "scripts/__init__.py",
]
CARD = ("intended use", "data", "training", "time", "memory", "results", "limit", "references")
MAX_WEIGHTS_MB = 25
STEPS = {"imports", "initialize", "run", "finalize"}  # of a workflow, no options
FOLDERS = {"dataset_dir", "output_dir"}  # every workflow has its own
COMBINATIONS = {**CONFIGS, "inference_trt": ("inference.json", "inference_trt.json")}


def load_json(path: Path) -> dict:
    return json.loads(path.read_text())


def pinned() -> dict[str, str]:
    """Versions of requirements.txt by name."""
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    return {m[1].lower(): m[2] for line in lines if (m := re.match(r"([\w.-]+)==([\w.]+)", line))}


def test_required_files_exist(bundle: Bundle) -> None:
    assert [f for f in FILES if not (bundle.path / f).is_file()] == []


def test_shared_is_a_relative_link(bundle: Bundle) -> None:
    link = bundle.path / "scripts" / "shared"
    assert link.is_symlink() and str(link.readlink()) == "../../../shared"


def test_metadata_follows_the_schema(bundle: Bundle) -> None:
    schema = load_json(ROOT / "ci" / "schema" / "metadata.json")
    validator = jsonschema.Draft202012Validator(schema)
    errors = validator.iter_errors(load_json(bundle.path / "configs" / "metadata.json"))
    assert [f"{'/'.join(map(str, e.path))}: {e.message}" for e in errors] == []


def test_version_is_the_newest_of_the_changelog(bundle: Bundle) -> None:
    metadata = load_json(bundle.path / "configs" / "metadata.json")
    newest = max(metadata["changelog"], key=lambda v: tuple(map(int, v.split("."))))
    assert metadata["version"] == newest


def test_versions_are_those_of_the_requirements(bundle: Bundle) -> None:
    metadata, pins = load_json(bundle.path / "configs" / "metadata.json"), pinned()
    stated = {k.lower(): v for k, v in metadata["required_packages_version"].items()}
    for key, package in (("monai_version", "monai"), ("pytorch_version", "torch"), ("numpy_version", "numpy")):
        stated[package] = metadata[key]
    assert stated == {k: pins.get(k) for k in stated}


def test_channels_are_all_described(bundle: Bundle) -> None:
    """MONAI Label takes the names of a label map's values from here, whatever channels the network has."""
    formats = load_json(bundle.path / "configs" / "metadata.json")["network_data_format"]
    label_names = {"0": "background"} | {str(value): name for value, name in bundle.spec.label_names.items()}
    for tensor in [*formats["inputs"].values(), *formats["outputs"].values()]:
        numbers, names = list(tensor["channel_def"]), list(tensor["channel_def"].values())
        if tensor["format"] == "segmentation" and bundle.spec.label_names:
            assert tensor["channel_def"] == label_names
        else:
            assert numbers == [str(i) for i in range(tensor["num_channels"])]
        assert len(set(names)) == len(names)


def test_weights_are_plain_and_small(bundle: Bundle) -> None:
    file = bundle.path / "models" / "model.pt"
    weights = torch.load(file, map_location="cpu", weights_only=True)
    assert weights and all(isinstance(v, torch.Tensor) for v in weights.values())
    assert all(torch.isfinite(v).all() for v in weights.values())
    assert file.stat().st_size <= MAX_WEIGHTS_MB * 1e6


def test_weights_of_the_network_come_first(bundle: Bundle) -> None:
    """Unless it is told which, MONAI Label loads the first file of ``models`` by name into the network."""
    assert min(path.name for path in (bundle.path / "models").glob("*.pt")) == "model.pt"


def test_one_network_in_every_config(bundle: Bundle) -> None:
    configs = {p.name: load_json(p) for p in sorted((bundle.path / "configs").glob("*.json"))}
    networks = {name: c["network_def"] for name, c in configs.items() if "network_def" in c}
    networks.pop("inference_trt.json", None)  # names the engine instead
    assert {"train.json", "inference.json"} <= set(networks)
    assert all(n == networks["train.json"] for n in networks.values()), networks


@pytest.mark.parametrize("workflow", sorted(COMBINATIONS))
def test_every_reference_of_a_config_exists(bundle: Bundle, workflow: str) -> None:
    files = [str(bundle.path / "configs" / name) for name in COMBINATIONS[workflow]]
    parser = ConfigParser(ConfigParser.load_config_files(files))
    parser.parse()
    resolver = parser.ref_resolver
    missing = {
        f"{id_} refers to {ref}"
        for id_, item in resolver.items.items()
        for ref in ReferenceResolver.find_refs_in_config(item.get_config(), id_)
        if ref not in resolver.items
    }
    assert missing == set()


def options_of(files: Iterable[Path]) -> dict[str, Any]:
    """Defaults of what a user may set in configs on top of each other: the entries without a component in them."""
    merged = ConfigParser.load_config_files([str(file) for file in files])
    return {
        name: value
        for name, value in merged.items()
        if not isinstance(value, dict)
        and name not in STEPS | FOLDERS
        and not name.startswith("+")
        and "_target_" not in json.dumps(value)
    }


def test_options_have_one_default(bundle: Bundle) -> None:
    """An option that several workflows share has one default in all of them, but for those that the spec explains."""
    defaults: dict[str, dict[str, Any]] = {}
    for workflow in ("train", "inference", "evaluate"):
        for name, value in options_of(bundle.path / "configs" / f for f in CONFIGS[workflow]).items():
            defaults.setdefault(name, {})[workflow] = value
    unlike = {name for name, values in defaults.items() if any(v != [*values.values()][0] for v in values.values())}
    assert unlike == set(bundle.spec.different_defaults)


def test_inference_config_serves_monai_label(bundle: Bundle) -> None:
    config = load_json(bundle.path / "configs" / "inference.json")
    assert {"network_def", "preprocessing", "inferer", "postprocessing"} <= set(config)
    assert "_meta_" not in json.dumps(config)


def test_scripts_import_at_the_top_alone(bundle: Bundle) -> None:
    """MONAI Label imports `scripts` anew for every bundle: an import inside a function would find another bundle's."""
    late = []
    for file in sorted(bundle.path.glob("scripts/*.py")) + sorted((ROOT / "shared").rglob("*.py")):
        for function in ast.walk(ast.parse(file.read_text())):
            if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
                imports = (n for n in ast.walk(function) if isinstance(n, (ast.Import, ast.ImportFrom)))
                late += [f"{file.relative_to(ROOT)}:{n.lineno}" for n in imports]
    assert late == []


def test_model_card_is_complete(bundle: Bundle) -> None:
    card = (bundle.path / "docs" / "README.md").read_text()
    assert [topic for topic in CARD if topic not in card.lower()] == []
    named = set(re.findall(r"configs/[\w.-]+\.json", card))
    assert [name for name in sorted(named) if not (bundle.path / name).is_file()] == []


def test_metrics_are_those_of_the_card(bundle: Bundle) -> None:
    """Every figure of the metadata stands in a table of the model card."""
    metrics = load_json(bundle.path / "configs" / "metadata.json")["eval_metrics"]
    lines = (bundle.path / "docs" / "README.md").read_text().splitlines()
    cells = {float(x) for line in lines if line.startswith("|") for x in re.findall(r"(?<![\w.])-?\d+(?:\.\d+)?", line)}
    assert {name: value for name, value in metrics.items() if float(value) not in cells} == {}


def test_package_is_whole_and_repeatable(bundle: Bundle, package: Path, work: Path) -> None:
    assert [f for f in FILES if not (package / f).is_file()] == []
    assert (package / "scripts" / "shared" / "__init__.py").is_file()
    assert [p for p in package.rglob("*") if p.is_symlink() or "__pycache__" in p.parts] == []
    again = package_bundle(bundle.path, work / "again")
    first = next((work / "dist").glob("*.zip"))
    assert again.name == first.name and again.read_bytes() == first.read_bytes()
