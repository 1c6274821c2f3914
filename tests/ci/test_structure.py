"""The tree stays in one piece: evaluation is inference, shared code is shared, one definition of each thing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from monai.bundle import ConfigParser

from ci.closure import closure
from ci.structure import INLINE_AFFINE, Structure, bundles, examine

BUNDLES = bundles()
REPEATED = 30  # lines of evaluate.json that stand in inference.json too; must not grow


@pytest.fixture(scope="module")
def structure() -> Structure:
    return examine()


def test_evaluations_are_thin(structure: Structure) -> None:
    counts = structure.counts()
    assert len(structure.evaluate_lines) == len(BUNDLES) > 0
    assert counts["evaluate_lines_on_average"] <= 30, structure.evaluate_lines
    assert counts["repeated_evaluate_lines"] <= REPEATED, structure.repeated_lines


def test_shared_code_has_two_users(structure: Structure) -> None:
    assert structure.single_user == {}


def test_no_affine_is_applied_by_hand(structure: Structure) -> None:
    assert structure.inline_affines == []


def test_one_definition_of_each_thing(structure: Structure) -> None:
    assert structure.classes == {} and structure.functions == {}


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("x = inverse[:3, :3] @ point + inverse[:3, 3]", True),
        ("x = points.reshape(-1, 3) @ a.affine[:3, :3].T + a.affine[:3, 3]", True),
        ("return f(voxels @ affine[..., :3, :3].mT + affine[..., :3, 3])", True),
        ("turn = first[:3, :3] @ second[:3, :3].T", False),
        ("moved = affine[:3, :3] @ shift", False),
        ("x = transform_points(affine, point)", False),
    ],
)
def test_what_counts_as_applied_by_hand(line: str, found: bool) -> None:
    assert bool(INLINE_AFFINE.search(line)) == found


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two small bundles that share a module, and modules that one or none of them uses."""
    shared = tmp_path / "shared"
    for name in ("__init__", "io/__init__", "tools/__init__"):
        write(shared / f"{name}.py", "")
    write(shared / "io" / "both.py", "def f(x):\n    y = x\n    return y\n\n\nclass A:\n    pass\n")
    write(shared / "io" / "imported.py", "from .both import f\nTABLE = 'table.csv'\n")
    write(shared / "io" / "table.csv", "1")
    write(shared / "io" / "other.csv", "1")
    write(shared / "io" / "unused.py", "from . import both\n\n\ndef f(x):\n    '''Same.'''\n    y = x\n    return y\n")
    write(shared / "tools" / "__main__.py", "from . import part\n")
    write(shared / "tools" / "part.py", "class A:\n    x = points @ m[:3, :3].T + m[:3, 3]\n")
    for name, code in {"one": "from .shared.io import imported\n", "two": "from .shared.io.both import f\n"}.items():
        bundle = tmp_path / "bundles" / name
        write(bundle / "scripts" / "own.py", code)
        (bundle / "scripts" / "shared").symlink_to(shared)
        write(bundle / "configs" / "metadata.json", "{}")
        inference = {"a": {"_target_": "scripts.own.g"}, "b": 1}
        write(bundle / "configs" / "inference.json", json.dumps(inference, indent=4))
        write(bundle / "configs" / "evaluate.json", json.dumps({"b": 1, "c": 2}, indent=4))
        write(bundle / "docs" / "README.md", "")
    write(tmp_path / "bundles" / "two" / "docs" / "README.md", "Run `python -m scripts.shared.tools --count 2`.")
    return tmp_path


def test_a_closure_follows_imports_configs_and_commands(tree: Path) -> None:
    one, two = ({str(path) for path in closure(tree / "bundles" / name)} for name in ("one", "two"))
    io = {"shared/__init__.py", "shared/io/__init__.py", "shared/io/both.py"}
    assert one == {"own.py", "shared/io/imported.py", "shared/io/table.csv"} | io
    tools = {f"shared/tools/{name}.py" for name in ("__init__", "__main__", "part")}
    assert two == {"own.py"} | io | tools
    config = {"_target_": "scripts.shared.io.unused.f"}
    write(tree / "bundles" / "two" / "configs" / "train.json", json.dumps(config))
    assert Path("shared/io/unused.py") in closure(tree / "bundles" / "two")


def test_what_is_counted(tree: Path) -> None:
    found = examine(tree)
    assert found.evaluate_lines == {"one": 4, "two": 4} and found.repeated_lines == {"one": 1, "two": 1}
    assert {path: users for path, (_, users) in found.single_user.items()} == {
        "io/imported.py": ["one"],
        "io/unused.py": [],
        "tools/__main__.py": ["two"],
        "tools/part.py": ["two"],
    }
    assert found.inline_affines == ["shared/tools/part.py:2"]
    assert found.classes == {"A": ["shared/io/both.py", "shared/tools/part.py"]}
    assert found.functions == {"f": ["shared/io/both.py", "shared/io/unused.py"]}


@pytest.mark.parametrize("bundle", BUNDLES, ids=lambda path: path.name)
def test_a_wrong_overlay_gets_as_far_as_its_run(bundle: Path) -> None:
    """MONAI merges evaluate.json onto the training without an error, and `run` begins with what refuses that."""
    files = [bundle / "configs" / f"{name}.json" for name in ("train", "evaluate")]
    merged = ConfigParser.load_config_files([str(file) for file in files])
    start = "scripts.shared.engines.terminal.start"
    assert merged["run"][0]["_target_"] == start
    assert [entry["_target_"] for entry in json.loads(files[1].read_text())["+run"]] == [start]
