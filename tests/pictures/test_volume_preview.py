"""The picture of a volume: orientation, outlines, colours."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from shared.pictures.volume_preview import GAP, PLANE_PIXELS, draw_plane, label_colour, outlines, plane, three_planes


def test_planes_are_upright_and_show_the_left_at_the_right():
    volume = np.zeros((6, 7, 8))
    volume[5, 0, 7] = 1  # left, anterior, head
    assert plane(volume, "axial", 7)[0, 5] == 1
    assert plane(volume, "coronal", 0)[0, 5] == 1
    assert plane(volume, "sagittal", 5)[0, 0] == 1
    assert [plane(volume, name, 0).shape for name in ("axial", "coronal", "sagittal")] == [(7, 6), (8, 6), (8, 7)]


def test_any_direction_gives_the_same_picture():
    image = sitk.GetImageFromArray(np.random.default_rng(0).normal(300, 300, (8, 10, 12)).astype(np.float32))
    image.SetSpacing((2, 3, 4))
    turned = sitk.DICOMOrient(image, "PIR")
    assert np.array_equal(np.asarray(three_planes(image)), np.asarray(three_planes(turned)))


def test_the_size_follows_the_millimetres():
    image = sitk.Image(20, 10, 5, sitk.sitkInt16)
    image.SetSpacing((1, 1, 8))
    picture = three_planes(image)
    scale = PLANE_PIXELS / 40
    assert picture.width == round(20 * scale) * 2 + round(10 * scale) + 2 * GAP and picture.height == PLANE_PIXELS


def test_labels_are_outlined_in_their_colour_and_others_in_white():
    image = sitk.Image(30, 30, 30, sitk.sitkInt16) - 1000
    labels = sitk.Image(30, 30, 30, sitk.sitkUInt8)
    labels[5:15, 5:15, 5:15] = 3
    others = sitk.Image(30, 30, 30, sitk.sitkUInt8)
    others[3:20, 3:20, 3:20] = 1
    colours = {colour for _, colour in three_planes(image, labels, others).getcolors(1 << 24)}
    assert {label_colour(3), (255, 255, 255)} <= colours
    alone = {colour for _, colour in three_planes(image, None, others).getcolors(1 << 24)}
    assert label_colour(3) not in alone
    assert len({label_colour(label) for label in range(1, 60)}) == 59


def test_an_outline_is_one_pixel_wide():
    labels = np.zeros((9, 9), np.uint8)
    labels[2:7, 2:7] = 4
    border = outlines(labels)
    assert (border > 0).sum() == 16 and border[3, 3] == 0 and border[2, 2] == 4


def test_a_label_is_tinted_inside_and_keeps_its_outline():
    labels = np.zeros((10, 10), np.uint8)
    labels[2:8, 2:8] = 3
    grey = np.full((10, 10), 100, np.uint8)
    plain, tinted = (np.array(draw_plane(grey, labels, None, (10, 10), 2.0, tint)) for tint in (0.0, 0.5))
    colour = np.array(label_colour(3))
    assert (plain[4, 4] == colour).all() and (tinted[4, 4] == colour).all()
    assert (plain[10, 10] == 100).all() and (tinted[10, 10] == (50 + 0.5 * colour).astype(np.uint8)).all()
    assert (tinted[1, 1] == 100).all()
