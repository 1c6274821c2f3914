"""The vertebra pipeline: CT grids, crops, training data, labelling, segmentation and evaluation."""
