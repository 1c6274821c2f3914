"""Begins a bundle from one that is there: `python -m ci.new_bundle NAME --like BUNDLE`.

The new bundle has the configs, code and weights of the other under its own name, version 0.1.0, a model card of
headings without claims, and a spec for the contract tests, which it passes as it is. What it does is then changed step
by step, with `python -m pytest tests/bundles -k NAME` passing after each.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TEXT = {".json", ".py", ".md", ".txt", ".conf", ".html"}
CARD = """# {title}

What it finds, on which images, in which coordinates. The second sentence says what not to trust.

## Intended use

Research. Not a medical device: no diagnosis, no treatment decisions.

## Start

```bash
python -m monai.bundle run --config_file configs/inference.json --dataset_dir IMAGE_OR_FOLDER --output_dir results
```

## Data

Which images the weights were trained on, and their licences (`data_license.txt`).

## Training

`python -m monai.bundle run --config_file configs/train.json --dataset_dir DIR --output_dir runs/first` with its
defaults is the recipe of the weights. Earlier trainings: `training_log.md`.

The weights are those of `{like}` until the first training of this bundle.

## Results

None measured yet. Each figure stands beside the command that gives it:

```bash
python -m monai.bundle run --config_file "['configs/inference.json','configs/evaluate.json']" --output_dir eval
```

## Time and memory

None measured yet.

## Limits

What was not in the data.

## References
"""


def tracked_files(bundle: Path) -> list[Path]:
    """Files of a bundle that belong to the project, relative to it: no results, no caches; without the shared link."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", "."]
    names = subprocess.run(command, cwd=bundle, check=True, capture_output=True, text=True).stdout.split("\0")
    return [Path(name) for name in names if name and (bundle / name).is_file()]


def new_metadata(metadata: dict, name: str, like: str) -> dict:
    """The metadata of a bundle that begins as a copy of another: its own name and version, no metrics of the other."""
    title = name.replace("_", " ").capitalize()
    return {
        **metadata,
        "version": "0.1.0",
        "changelog": {"0.1.0": f"begun from {like}"},
        "name": title,
        "task": title,
        "description": f"{title}; begun from {like}.",
        "eval_metrics": {},
    }


def new_bundle(name: str, like: str, root: Path = ROOT) -> Path:
    """Write ``bundles/<name>`` and ``tests/bundles/specs/<name>.py``; returns the folder of the bundle.

    Args:
        name: of the new bundle, lower case letters, digits and underscores.
        like: name of the bundle that it begins from.
        root: of the project.

    Raises:
        ValueError: for a name that is taken or cannot be one, or a bundle that is not there.
    """
    source, target = root / "bundles" / like, root / "bundles" / name
    spec = root / "tests" / "bundles" / "specs"
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise ValueError(f"{name}: write lower case letters, digits and underscores, a letter first")
    if target.exists() or (spec / f"{name}.py").exists():
        raise ValueError(f"{name}: is there already; take another name")
    if not (source / "configs" / "metadata.json").is_file():
        found = sorted(path.parent.parent.name for path in root.glob("bundles/*/configs/metadata.json"))
        raise ValueError(f"{like}: no such bundle; there are {', '.join(found)}")

    for file in tracked_files(source):
        if file.parts[0] == "docs" and file.name != "data_license.txt":
            continue  # its card, figures and pictures are about the other
        copy = target / file
        copy.parent.mkdir(parents=True, exist_ok=True)
        if (source / file).is_symlink():
            copy.symlink_to((source / file).readlink())
        elif file.suffix in TEXT:
            copy.write_text((source / file).read_text(encoding="utf-8").replace(like, name), encoding="utf-8")
        else:
            shutil.copyfile(source / file, copy)
    (target / "scripts" / "shared").symlink_to("../../../shared")
    metadata = target / "configs" / "metadata.json"
    content = new_metadata(json.loads(metadata.read_text(encoding="utf-8")), name, like)
    metadata.write_text(json.dumps(content, indent=4, ensure_ascii=False) + "\n", encoding="utf-8")
    card = CARD.format(title=content["name"], like=like)
    (target / "docs" / "README.md").write_text(card, encoding="utf-8")
    (target / "docs" / "training_log.md").write_text(f"# Trainings\n\nThe first weights are those of {like}.\n")
    text = (spec / f"{like}.py").read_text(encoding="utf-8")
    (spec / f"{name}.py").write_text(text.replace(like, name), encoding="utf-8")
    return target


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="of the new bundle, such as foot_landmarks")
    parser.add_argument("--like", required=True, help="the bundle that it begins from")
    args = parser.parse_args()
    try:
        target = new_bundle(args.name, args.like)
    except ValueError as error:
        parser.error(str(error))
    print(f"{target.relative_to(ROOT)} and tests/bundles/specs/{args.name}.py are written")
    print(f"check it: python -m pytest tests/bundles -k {args.name}")
    print("then: metadata.json, docs/README.md, docs/data_license.txt, a line in CHANGELOG.md and a row in README.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
