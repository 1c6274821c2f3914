"""Names of the 37 hand landmarks and the bones between them (Digital Hand Atlas order, left hand).

The order is that of the annotations published with Payer et al., "Integrating spatial configuration into heatmap
regression based CNNs for landmark localization", Medical Image Analysis 2019: forearm and carpals, bases of the
metacarpals, then thumb to little finger from the palm outwards.
"""

HAND_LANDMARK_NAMES: tuple[str, ...] = (
    "ulna_metaphysis_ulnar",
    "ulna_styloid_tip",
    "ulna_metaphysis_radial",
    "radius_metaphysis_ulnar",
    "radius_metaphysis_radial",
    "radius_styloid_tip",
    "triquetrum_proximal",
    "lunate_proximal",
    "scaphoid_proximal",
    "hamate_proximal",
    "capitate_proximal",
    "trapezoid_proximal",
    "trapezium_proximal",
    "metacarpal_5_base",
    "metacarpal_4_base",
    "metacarpal_3_base",
    "metacarpal_2_base",
    "metacarpal_1_base",
    "thumb_proximal_phalanx_base",
    "thumb_interphalangeal_joint",
    "thumb_tip",
    "index_proximal_phalanx_base",
    "index_proximal_interphalangeal_joint",
    "index_distal_interphalangeal_joint",
    "index_tip",
    "middle_proximal_phalanx_base",
    "middle_proximal_interphalangeal_joint",
    "middle_distal_interphalangeal_joint",
    "middle_tip",
    "ring_proximal_phalanx_base",
    "ring_proximal_interphalangeal_joint",
    "ring_distal_interphalangeal_joint",
    "ring_tip",
    "little_proximal_phalanx_base",
    "little_proximal_interphalangeal_joint",
    "little_distal_interphalangeal_joint",
    "little_tip",
)

HAND_FINGERS: dict[str, tuple[int, ...]] = {
    "thumb": (18, 19, 20),
    "index": (21, 22, 23, 24),
    "middle": (25, 26, 27, 28),
    "ring": (29, 30, 31, 32),
    "little": (33, 34, 35, 36),
}
"""Landmarks of each finger from the metacarpophalangeal joint to the tip."""

METACARPAL_BASES: dict[str, int] = {"thumb": 17, "index": 16, "middle": 15, "ring": 14, "little": 13}

WRIST: tuple[int, int] = (1, 5)
"""Tips of the ulnar and radial styloid; their distance is the length standard of the hand."""

WRIST_MM: float = 50.0
"""Nominal distance in mm between the two `WRIST` landmarks."""

HAND_BONES: tuple[tuple[int, int], ...] = (
    *((0, 1), (0, 2), (1, 2), (3, 4), (3, 5), (4, 5)),
    *((6, 7), (7, 8), (6, 9), (9, 10), (10, 11), (11, 12)),
    *((9, 13), (9, 14), (10, 15), (11, 16), (12, 17)),
    *((17, 18), (18, 19), (19, 20)),
    *((16, 21), (21, 22), (22, 23), (23, 24)),
    *((15, 25), (25, 26), (26, 27), (27, 28)),
    *((14, 29), (29, 30), (30, 31), (31, 32)),
    *((13, 33), (33, 34), (34, 35), (35, 36)),
)
"""Pairs of landmark indices to join when a hand is drawn."""
