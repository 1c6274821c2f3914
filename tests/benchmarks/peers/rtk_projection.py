"""Forward projections by RTK's Joseph filter, run by the interpreter of an environment that has itk-rtk.

Arguments: volume (.npy, X Y Z float32, 1 mm voxels centred on the origin), ray frame (.npy, 4 x 3: source, first pixel,
    step
per column, step per row [mm]), rows, columns, threads, repeats. Prints the shortest time and the mean of the image as
JSON.
"""

from __future__ import annotations

import json
import sys
import time

import itk
import numpy as np
from itk import RTK as rtk

IMAGE = itk.Image[itk.F, 3]


def main() -> None:
    volume_file, frame_file, *numbers = sys.argv[1:]
    rows, columns, threads, repeats = map(int, numbers)
    array = np.load(volume_file)
    volume = itk.image_from_array(np.ascontiguousarray(array.transpose(2, 1, 0)))
    volume.SetOrigin([-(n - 1) / 2 for n in array.shape])
    source, first, column, row = np.load(frame_file)

    geometry = rtk.ThreeDCircularProjectionGeometry.New()
    spacing = [float(np.linalg.norm(column)), float(np.linalg.norm(row))]
    geometry.AddProjection(*map(list, (source, first, column / spacing[0], row / spacing[1])))
    detector = rtk.ConstantImageSource[IMAGE].New(Constant=0)
    detector.SetSize([columns, rows, 1])
    detector.SetSpacing([*spacing, 1.0])
    detector.SetOrigin([0.0, 0.0, 0.0])
    detector.Update()

    seconds = []
    for _ in range(repeats):
        projector = rtk.JosephForwardProjectionImageFilter[IMAGE, IMAGE].New()
        projector.SetInput(0, detector.GetOutput())
        projector.SetInput(1, volume)
        projector.SetGeometry(geometry)
        projector.SetNumberOfWorkUnits(threads)
        start = time.perf_counter()
        projector.Update()
        seconds.append(time.perf_counter() - start)
    image = itk.array_from_image(projector.GetOutput())
    print(json.dumps({"seconds": min(seconds), "mean": float(image.mean())}))


if __name__ == "__main__":
    main()
