"""Cases of a data set: finding them, running them so that one bad file does not stop the batch, reporting failures.

A user's mistake raises :class:`CaseError`, which says in one line which file, what is wrong and what to do. During
inference it costs that one case; anywhere else it ends the command, and :func:`show_case_errors` prints the line
instead of the chain of errors that MONAI's config parser and transforms wrap around it.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import torch
from ignite.engine import Events
from ignite.metrics import Metric
from monai.data import Dataset, MetaTensor, list_data_collate
from monai.engines import SupervisedEvaluator
from tqdm import tqdm

from ..engines.parallel import gather, is_distributed, rank, wait_for_all, world_size

logger = logging.getLogger(__name__)

DICOM_SUFFIXES = {".dcm", ".dicom", ".ima"}
PICTURE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"}
VOLUME_SUFFIXES = {".nii", ".nii.gz", ".mha", ".mhd", ".nrrd", ".nhdr"}
LONGEST_MESSAGE = 300  # characters of a foreign error message that are shown in one line


class CaseError(Exception):
    """A file or setting that cannot be processed.

    Args:
        path: the file, folder or setting.
        problem: what is wrong with it.
        advice: what the user can do.
    """

    def __init__(self, path: str | os.PathLike, problem: str, advice: str) -> None:
        super().__init__(str(path), problem, advice)
        self.path, self.problem, self.advice = str(path), problem, advice

    def __str__(self) -> str:
        return one_line(f"{self.path}: {self.problem}; {self.advice}")


def one_line(text: str) -> str:
    """The text without line breaks and repeated blanks."""
    return " ".join(text.split())


def find_case_line(error: BaseException) -> str | None:
    """The line of the CaseError that an exception comes from, or None.

    Follows the explicit causes, in which MONAI wraps errors of transforms and config expressions. A worker process of a
    data loader hands only the text of its traceback over, so the line is looked for there as well.
    """
    step: BaseException | None = error
    while step is not None:
        if isinstance(step, CaseError):
            return str(step)
        if found := re.findall(r"^(?:[\w.]+\.)?CaseError: (.+)$", str(step), flags=re.MULTILINE):
            return found[-1]
        step = step.__cause__
    return None


def describe(path: str, error: BaseException) -> str:
    """One line for any exception: that of the CaseError behind it, or type and message of the first cause."""
    if line := find_case_line(error):
        return line
    while error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, torch.OutOfMemoryError):
        return str(CaseError(path, "does not fit into the memory of the GPU", "use a GPU with more memory or the CPU"))
    message = one_line(str(error))[:LONGEST_MESSAGE]
    problem = f"unexpected {type(error).__name__}: {message}"
    return str(CaseError(path, problem, "the log at level DEBUG shows where"))


def show_case_errors() -> None:
    """Make an uncaught CaseError, however deeply wrapped, end the program with its one line and exit code 1.

    ``python -m monai.bundle run`` would print several screens of tracebacks. Other errors are shown as before.
    """
    previous = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        line = find_case_line(error)
        if line is None:
            previous(kind, error, trace)
            return
        logger.debug("", exc_info=(kind, error, trace))
        print(line, file=sys.stderr)

    sys.excepthook = hook


show_case_errors()


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM by its content (the preamble) or, where that is missing, by its suffix."""
    with open(path, "rb") as file:
        return file.read(132)[128:] == b"DICM" or path.suffix.lower() in DICOM_SUFFIXES


def image_suffix(path: Path) -> str:
    """The suffix in lower case, with that of a compressed NIfTI in one piece."""
    name = path.name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else path.suffix.lower()


def visible(folder: Path) -> list[Path]:
    """Content of a folder in the order of names, without hidden entries and the ones that macOS adds to archives."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith((".", "__MACOSX")))


def xray_files(folder: Path) -> list[Path]:
    """Radiographs of a folder, or where it holds none itself those of its sub-folders."""
    content = visible(folder)
    suffixes = VOLUME_SUFFIXES | PICTURE_SUFFIXES
    own = [
        path
        for path in content
        if path.is_file() and (image_suffix(path) in suffixes or (path.name != "DICOMDIR" and is_dicom(path)))
    ]
    return own or [path for sub in content if sub.is_dir() for path in xray_files(sub)]


def holds_dicom(folder: Path) -> bool:
    """Whether a folder holds DICOM files itself."""
    return any(path.is_file() and path.name != "DICOMDIR" and is_dicom(path) for path in visible(folder))


def volume_files(folder: Path) -> list[Path]:
    """Volumes of a folder (files, and DICOM folders inside it), or where it holds none those of its sub-folders."""
    if holds_dicom(folder):
        return [folder]
    content = visible(folder)
    own = [
        path
        for path in content
        if (path.is_file() and image_suffix(path) in VOLUME_SUFFIXES) or (path.is_dir() and holds_dicom(path))
    ]
    return own or [path for sub in content if sub.is_dir() for path in volume_files(sub)]


def case_names(paths: Sequence[Path], root: Path) -> list[str]:
    """A different name for each path: its stem, with folders and then the suffix added where stems coincide."""

    def stem(path: Path) -> str:
        return path.name if path.is_dir() else path.name[: len(path.name) - len(image_suffix(path))] or path.name

    def in_folders(path: Path) -> str:
        return "_".join([*path.relative_to(root).parent.parts, stem(path)])

    def in_full(path: Path) -> str:
        return f"{in_folders(path)}_{image_suffix(path)[1:].replace('.', '_')}"

    names = [stem(path) for path in paths]
    for longer in (in_folders, in_full):
        counts = Counter(names)
        names = [name if counts[name] == 1 else longer(path) for name, path in zip(names, paths, strict=True)]
    counts = Counter(names)
    return [name if counts[name] == 1 else f"{name}_{index}" for index, name in enumerate(names)]


def find_cases(dataset_dir: str | os.PathLike, kind: Literal["xray", "volume"] = "xray") -> list[dict[str, str]]:
    """Cases in a file or folder, in the order of their paths.

    Args:
        dataset_dir: one file; or a folder of them, of which the sub-folders are searched where it holds none itself.
            A folder of DICOM slices is one volume.
        kind: "xray" for single images (PNG, JPEG, BMP, TIFF, DICOM, or NIfTI, MHA, NRRD of one slice), "volume" for
            NIfTI, MHA, NRRD and DICOM series.

    Returns:
        One ``{"image": path, "case": name}`` each; no two names are equal.

    Raises:
        CaseError: when there is no such path, or nothing in it that could be a case.
    """
    root = Path(dataset_dir).expanduser()
    pictures = "PNG, JPEG, BMP, TIFF, " if kind == "xray" else ""
    advice = f"give --dataset_dir a file or folder of {pictures}NIfTI, MHA, NRRD or DICOM"
    if not root.exists():
        raise CaseError(root, "no such file or folder", advice)
    if root.is_file():
        suffixes = VOLUME_SUFFIXES | (PICTURE_SUFFIXES if kind == "xray" else set())
        paths, root = ([root] if image_suffix(root) in suffixes or is_dicom(root) else []), root.parent
    else:
        paths = xray_files(root) if kind == "xray" else volume_files(root)
    if not paths:
        raise CaseError(dataset_dir, f"holds no {'radiograph' if kind == 'xray' else 'volume'}", advice)
    return [{"image": str(p), "case": name} for p, name in zip(paths, case_names(paths, root), strict=True)]


def shard_cases(cases: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """This process's share of the cases: every ``world_size``-th one, none twice; may be empty."""
    return list(cases[rank() :: world_size()])


@dataclass(frozen=True)
class CaseFailure:
    """A case that could not be processed.

    Attributes:
        case: name of the case.
        line: what happened, in one line.
        details: the traceback.
    """

    case: str
    line: str
    details: str

    @classmethod
    def of(cls, case: str, path: str, error: BaseException) -> CaseFailure:
        """Failure of a case by an exception."""
        return cls(case, describe(path, error), "".join(traceback.format_exception(error)))


class CaseDataset(Dataset):
    """Data set whose items are transformed cases, or a :class:`CaseFailure` in place of those that cannot be read.

    Args:
        data: cases as :func:`find_cases` gives them: dictionaries with "case" and one or more paths.
        transform: applied to each.
    """

    def __init__(self, data: Sequence[dict[str, Any]], transform: Callable | Sequence[Callable] | None = None) -> None:
        super().__init__(data, transform)

    def _transform(self, index: int) -> Any:
        item = self.data[index]
        try:
            return super()._transform(index)
        except Exception as error:
            paths = [str(value) for key, value in item.items() if key != "case" and isinstance(value, (str, Path))]
            case = str(item.get("case", paths[0] if paths else index))
            return CaseFailure.of(case, paths[0] if paths else case, error)


def case_collate(batch: list[Any]) -> Any:
    """Collate for a loader of cases: a batch is one case, because cases differ in size and fail one by one."""
    if len(batch) != 1:
        raise ValueError(f"cases are processed one by one: the loader needs batch_size 1, got {len(batch)}")
    return batch[0] if isinstance(batch[0], CaseFailure) else list_data_collate(batch)


def batch_name(batch: Any) -> tuple[str, str]:
    """Name and path of the case in a collated batch."""
    names = batch.get("case") if isinstance(batch, dict) else None
    case = str(names[0] if isinstance(names, (list, tuple)) else names or "case")
    images = [value for value in batch.values() if isinstance(value, MetaTensor)] if isinstance(batch, dict) else []
    paths = [image.meta["filename_or_obj"] for image in images if "filename_or_obj" in image.meta]
    if not paths:
        return case, case
    return case, str(paths[0] if isinstance(paths[0], str) else paths[0][0])


class CaseEvaluator(SupervisedEvaluator):
    """Evaluator of a loader of cases (:class:`CaseDataset`, :func:`case_collate`) that survives cases that fail.

    A case fails by a CaseError or any other exception while it is read, in the network, in postprocessing or in a
    metric. It costs one line on stderr; the run goes on. ``failures`` lists them, :func:`finish` ends the command
    accordingly. Handlers of ITERATION_COMPLETED see an empty ``state.output`` list for a failed case; metrics do not
    see it at all. A process whose share is empty takes part in the gathering of metrics as well.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.failures: list[CaseFailure] = []
        super().__init__(*args, **kwargs)

    def run(self, global_epoch: int = 1) -> None:  # type: ignore[override]
        self.failures = []
        if self.state.epoch_length == 0:
            # The base class would skip the run, and the other processes would wait for this one's part of the metrics.
            self.state.epoch, self.state.iteration = global_epoch, 0
            for event in (Events.STARTED, Events.EPOCH_STARTED, Events.EPOCH_COMPLETED, Events.COMPLETED):
                self.fire_event(event)
            return
        super().run(global_epoch)

    def fail(self, failure: CaseFailure) -> list:
        """Note a failed case and say so; returns the output of its iteration."""
        self.failures.append(failure)
        tqdm.write(failure.line, file=sys.stderr)
        logger.debug(failure.details)
        self.state.batch, self.state.output = [], []
        return []

    def _iteration(self, engine: SupervisedEvaluator, batchdata: Any) -> Any:
        if isinstance(batchdata, CaseFailure):
            return self.fail(batchdata)
        try:
            return super()._iteration(engine, batchdata)
        except Exception as error:
            return self.fail(CaseFailure.of(*batch_name(batchdata), error))

    def _register_metrics(self, k_metric: dict, add_metrics: dict | None = None) -> None:
        for metric in (k_metric | (add_metrics or {})).values():
            self._guard(metric)
        super()._register_metrics(k_metric, add_metrics)

    def _guard(self, metric: Metric) -> None:
        """Keep failed cases away from a metric, and count a case that the metric cannot take as failed."""
        update = metric.iteration_completed

        def guarded(engine: CaseEvaluator) -> None:
            if not engine.state.output:
                return
            try:
                update(engine)
            except Exception as error:
                item = engine.state.batch[0] if isinstance(engine.state.batch, list) else engine.state.batch
                self.fail(CaseFailure.of(*batch_name(item), error))

        metric.iteration_completed = guarded  # type: ignore[method-assign, assignment]


def finish(evaluator: CaseEvaluator) -> None:
    """Last entry of "run": say how many cases failed and exit with code 1 if any did, in every process alike.

    Raises:
        SystemExit: if a case failed in this or another process.
    """
    failures = gather(evaluator.failures)
    count = sum(gather([evaluator.state.iteration]))
    if rank() == 0:
        logger.info("%d of %d cases done", count - len(failures), count)
        if failures:
            names = ", ".join(sorted(failure.case for failure in failures))
            print(f"{len(failures)} of {count} cases failed: {names}", file=sys.stderr, flush=True)
    if failures:
        wait_for_all()  # torchrun stops the others as soon as one process has failed
        if is_distributed():
            torch.distributed.destroy_process_group()
        raise SystemExit(1)


@contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """Temporary name beside the target (same suffixes), renamed to it at the end and removed after an exception.

    The folder is made where it is missing.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".part-{os.getpid()}-{target.name}")
    try:
        yield temporary
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
