"""Hounsfield units (HU) that have a meaning for every CT."""

AIR_HU = -1000.0  # by the definition of the unit
LOWEST_HU, HIGHEST_HU = -1024.0, 3071.0  # of a CT of 12 bits; scanners fill with the lowest what they do not see
