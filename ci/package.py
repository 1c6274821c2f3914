"""Packs bundles for use outside this repository: `python -m ci.package [name ...] [--output dist]`.

Writes `dist/<name>_v<version>.zip` with one folder `<name>/` inside: the bundle, its link to `shared/` replaced by the
files of it that the bundle uses. The same files give the same bytes.
"""

from __future__ import annotations

import argparse
import json
import sys
import zipfile
from pathlib import Path

from .closure import closure

ROOT = Path(__file__).resolve().parent.parent
CONTENTS = ("LICENSE", "configs/**/*", "docs/**/*", "models/*.pt", "models/*.json", "scripts/**/*")
CACHES = {"__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache"}
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip file can hold


def bundle_files(bundle: Path) -> list[Path]:
    """The files that belong to a bundle, sorted, paths relative to it; of `shared/` only what it uses."""
    files: set[Path] = set()
    for pattern in CONTENTS:
        files.update(p.relative_to(bundle) for p in bundle.glob(pattern) if p.is_file())
    shared = Path("scripts") / "shared"
    files = {path for path in files if shared not in path.parents} | {Path("scripts") / p for p in closure(bundle)}
    return sorted(p for p in files if not CACHES & set(p.parts) and p.suffix != ".pyc" and p.name[0] != ".")


def package_bundle(bundle: Path, output_dir: Path) -> Path:
    """Writes the package of one bundle and returns its path."""
    version = json.loads((bundle / "configs" / "metadata.json").read_text())["version"]
    output_dir.mkdir(parents=True, exist_ok=True)
    target = output_dir / f"{bundle.name}_v{version}.zip"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in bundle_files(bundle):
            info = zipfile.ZipInfo(f"{bundle.name}/{path.as_posix()}", EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            archive.writestr(info, (bundle / path).read_bytes())
    return target


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundles", nargs="*", help="names; all when none is given")
    parser.add_argument("--output", type=Path, default=ROOT / "dist")
    args = parser.parse_args()
    found = {p.parent.parent.name: p.parent.parent for p in sorted(ROOT.glob("bundles/*/configs/metadata.json"))}
    if unknown := set(args.bundles) - set(found):
        parser.error(f"no such bundle: {', '.join(sorted(unknown))}; there are {', '.join(found)}")
    for name in args.bundles or found:
        target = package_bundle(found[name], args.output)
        print(f"{target}  {target.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
