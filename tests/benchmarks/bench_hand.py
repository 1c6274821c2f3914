"""Speed of hand_landmarks: against landmarker's SCN, its own exports against eager, and its start-up.

Accuracy against landmarker's SCN, both trained for the same time on the same radiographs, needs real data and minutes:

    python -m tests.benchmarks.bench_hand accuracy --dataset_dir DIR --seconds 1200

The peer gets the very views that our training draws (`RandHandViewd` and the grey-value transforms of `train.json`) and
whole test canvases as one view each; ours is a checkpoint of the same number of seconds of `train.json`, see the model
card.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import fire
import numpy as np
import torch
from monai.bundle import ConfigParser

from tests.benchmarks.measure import ROOT, median_seconds, peer_python, row, run_script

NAMES = ["hand/landmarker", "hand/torchscript", "hand/onnx", "hand/start_up"]
BUNDLE = ROOT / "bundles" / "hand_landmarks"
PEER = Path(__file__).with_name("peers") / "landmarker_scn.py"
PEER_REQUIREMENTS = ["torch==2.13.0", "torchvision==0.28.0", "landmarker==0.4.1"]
THREADS = 2
IMAGES = 8


def in_bundle(*config_files: str) -> ConfigParser:
    """Parsed configs, with the scripts of the bundle importable as in `monai.bundle run`."""
    sys.path.insert(0, str(BUNDLE))
    parser = ConfigParser()
    parser.read_config([str(BUNDLE / "configs" / name) for name in config_files])
    parser["bundle_root"] = str(BUNDLE)
    return parser


def views_and_points(parser: ConfigParser, items: list[dict]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Overview views (N, 1, X, Y) uint8 of preprocessed cases, their points (N, K, 2) and mm per index (N,)."""
    from scripts.alignment import overview_matrix

    from shared.geometry.deform import Deformation
    from shared.geometry.frames import transform_points

    size = tuple(parser["input_size"])
    views, points, scales = [], [], []
    for item in items:
        canvas = torch.as_tensor(item["image"]).as_subclass(torch.Tensor)
        matrix = overview_matrix(tuple(canvas.shape[1:]), size)
        views.append((Deformation(matrix[:2].float(), None, size).apply(canvas) * 255).byte().numpy())
        seen = transform_points(torch.linalg.inv(matrix), torch.as_tensor(item["landmarks"])).numpy()
        points.append(seen)
        scales.append(50 / np.linalg.norm(seen[1] - seen[5]))
    return np.stack(views), np.stack(points), np.array(scales)


def write_hands(folder: Path) -> Path:
    """Phantoms with their table."""
    command = [
        sys.executable,
        "-m",
        "scripts.phantoms",
        "--output_dir",
        str(folder),
        "--count",
        str(IMAGES),
    ]
    subprocess.run([*command, "--seed", "7000"], cwd=BUNDLE, check=True)
    return folder


def start_up_seconds(folder: Path) -> tuple[float, float]:
    """Seconds of inference on one image, process included, and of the bare import of MONAI; interleaved medians."""
    env = {**os.environ, "OMP_NUM_THREADS": str(THREADS)}
    image = str(sorted(folder.glob("*.png"))[0])
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", "configs/inference.json"]
    ours, bare = [], []
    for _ in range(3):
        for command_line, seconds in (
            ([*command, "--dataset_dir", image, "--output_dir", str(folder / "out")], ours),
            ([sys.executable, "-c", "import monai"], bare),
        ):
            start = time.perf_counter()
            subprocess.run(
                command_line, cwd=BUNDLE, env=env, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            seconds.append(time.perf_counter() - start)
    return float(np.median(ours)), float(np.median(bare))


def run() -> list[dict]:
    torch.set_num_threads(THREADS)
    with tempfile.TemporaryDirectory() as temporary:
        folder = write_hands(Path(temporary) / "hands")
        parser = in_bundle("inference.json")
        annotated = {"dataset_dir": str(folder), "landmarks": str(folder / "landmarks.csv")}
        annotated["landmark_set"] = "@landmark_set"
        parser["dataset#data"] = {"_target_": "scripts.data.hand_datalist", **annotated}
        dataset = parser.get_parsed_content("dataset")
        items = [dataset[index] for index in range(len(dataset))]
        network = parser.get_parsed_content("network").eval()
        inferer = parser.get_parsed_content("inferer")
        views, points, scales = views_and_points(parser, items)
        data = Path(temporary) / "data.npz"
        np.savez(data, views=views, points=points, test_views=views, test_points=points, mm_per_index=scales)
        peer = run_script(peer_python("landmarker", PEER_REQUIREMENTS), PEER, data, threads=THREADS)

        canvases = torch.stack([torch.as_tensor(item["image"]).as_subclass(torch.Tensor) for item in items])
        with torch.inference_mode():
            seconds = median_seconds(lambda: inferer(canvases, network), repeats=3)
        rows = [
            row("hand/landmarker", IMAGES / seconds, peer["images_per_s"], "images/s", THREADS, lower_is_better=False)
        ]
        rows += export_rows(network, torch.as_tensor(views[:1]).float() / 255, Path(temporary))
        ours, bare = start_up_seconds(folder)
        rows.append(row("hand/start_up", ours, bare, "s", THREADS, lower_is_better=True))
    return rows


def export_rows(network: torch.nn.Module, view: torch.Tensor, folder: Path) -> list[dict]:
    """Views per second of the TorchScript and ONNX exports against the eager network, one view at a time, float32."""
    import onnxruntime

    weights = str(folder / "model.pt")
    torch.save(network.state_dict(), weights)
    script, onnx = folder / "model.ts", folder / "model.onnx"
    monai = [sys.executable, "-m", "monai.bundle", "ckpt_export", "network_def", "--filepath", str(script)]
    files = ["--ckpt_file", weights, "--meta_file", "configs/metadata.json", "--config_file", "configs/inference.json"]
    quiet = {"cwd": BUNDLE, "check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run([*monai, *files], **quiet)
    subprocess.run(
        [sys.executable, "-m", "scripts.shared.engines.export", "--filepath", str(onnx), "--ckpt_file", weights],
        **quiet,
    )
    scripted = torch.jit.load(script).eval()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    session = onnxruntime.InferenceSession(str(onnx), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    with torch.inference_mode():
        eager = median_seconds(lambda: network(view), repeats=9, warmup=3)
        with_script = median_seconds(lambda: scripted(view), repeats=9, warmup=3)
        with_onnx = median_seconds(lambda: session.run(None, {name: view.numpy()}), repeats=9, warmup=3)
    return [
        row("hand/torchscript", 1 / with_script, 1 / eager, "views/s", THREADS, lower_is_better=False),
        row("hand/onnx", 1 / with_onnx, 1 / eager, "views/s", THREADS, lower_is_better=False),
    ]


def accuracy(dataset_dir: str, seconds: float = 1200, views: int = 1500, threads: int = 1) -> None:
    """Train landmarker's SCN for some time on our augmented training views; print its figures on the validation split.

    Args:
        dataset_dir: folder as `train.json` takes it.
        seconds: processor time of the training.
        views: number of augmented views made beforehand, not counted as training time.
        threads: of the training.
    """
    torch.set_num_threads(threads)
    parser = in_bundle("train.json")
    parser["dataset_dir"] = str(Path(dataset_dir).resolve())
    train, validation = (parser.get_parsed_content(f"{part}#dataset") for part in ("train", "validate"))
    drawn = [train[index // len(train), index % len(train)] for index in range(views)]
    test_views, test_points, scales = views_and_points(parser, [validation[i] for i in range(len(validation))])
    with tempfile.TemporaryDirectory() as temporary:
        data = Path(temporary) / "data.npz"
        np.savez(
            data,
            views=np.stack([(torch.as_tensor(item["image"]).clamp(0, 1) * 255).byte().numpy() for item in drawn]),
            points=np.nan_to_num(np.stack([item["landmarks"].numpy() for item in drawn]), nan=-1e3),
            test_views=test_views,
            test_points=test_points,
            mm_per_index=scales,
        )
        python = peer_python("landmarker", PEER_REQUIREMENTS)
        print(json.dumps(run_script(python, PEER, data, "--seconds", seconds, threads=threads)))


if __name__ == "__main__":
    fire.Fire({"accuracy": accuracy})
