"""Whether a registration can be trusted, and why not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from .metrics import mtre
from .patient import PatientModel
from .pose_space import PoseSpace


@dataclass(frozen=True)
class AcceptanceLimits:
    """What a registration has to keep to be accepted.

    Attributes:
        similarity: least similarity of the pose at the middle resolution, where noise counts little. The default is
            for X-rays that look like renderings of this CT; other soft tissue or scatter need a lower one.
        disagreement_mm: largest mTRE between the best pose and the best of the other starts that looks as good.
        margin: how much worse another pose has to look to be ignored, as a share of what the best one lacks to 1.
        gradient: largest gradient of the similarity, per step of 0.01 rad and 1 mm: larger, it has not converged.
        excess: how far the pose may lie outside of the pose space, as a share of its half widths.
        exposed: least share of the image that is exposed.
        bone_similarity: as ``similarity``, around the shadow of a single bone, over which others lie.
        bone_margin: how much less similar another pose of a single bone has to be to be ignored.
        bone_gradient: as ``gradient``, per step of a hundredth of the bone's size.
    """

    similarity: float = 0.975
    disagreement_mm: float = 3.0
    margin: float = 0.3
    gradient: float = 5e-3
    excess: float = 0.3
    exposed: float = 0.25
    bone_similarity: float = 0.4
    bone_margin: float = 0.03
    bone_gradient: float = 2e-2


@dataclass(frozen=True)
class Confidence:
    """The verdict.

    Attributes:
        accepted: whether the pose can be used.
        reasons: why not, one line each.
        value: in 0..1, the share of the limits that is kept in the worst figure.
        figures: what was looked at.
    """

    accepted: bool
    reasons: list[str] = field(default_factory=list)
    value: float = 0.0
    figures: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "accepted": self.accepted,
            "reasons": self.reasons,
            "value": round(self.value, 4),
            "figures": {name: round(value, 6) for name, value in self.figures.items()},
        }


def disagreement(
    best: Tensor, others: Tensor, similarities: Tensor, patient: PatientModel, space: PoseSpace, margin: float
) -> float:
    """Largest mTRE [mm] between the best pose and those of the other starts that look about as good.

    Args:
        best: parameters (6,).
        others: parameters (B, 6), the first of them that from which the best was refined.
        similarities: (B,) of the others.
        patient: the CT.
        space: meaning of the parameters.
        margin: see `AcceptanceLimits`.
    """
    pose = space.to_pose(best[None], patient.isocenter)[0]
    alike = 1 - similarities <= (1 + margin) * (1 - similarities[0]) + 1e-4
    poses = space.to_pose(others[alike], patient.isocenter)
    return max(mtre(patient, pose, other) for other in poses)


def judge(figures: dict[str, float], limits: AcceptanceLimits) -> Confidence:
    """Verdict on the figures "similarity", "disagreement_mm", "gradient", "excess" and "exposed"."""
    reasons = []
    if not figures["similarity"] >= limits.similarity:
        reasons.append(
            f"the rendering at the found pose does not look like the X-ray (similarity {figures['similarity']:.2f}, "
            f"at least {limits.similarity:g} is needed): another patient, view or polarity?"
        )
    if not figures["disagreement_mm"] <= limits.disagreement_mm:
        reasons.append(
            f"poses {figures['disagreement_mm']:.1f} mm apart look equally good (at most {limits.disagreement_mm:g} mm)"
        )
    if not figures["gradient"] <= limits.gradient:
        reasons.append(f"the refinement has not converged (gradient {figures['gradient']:.1e})")
    if not figures["excess"] <= limits.excess:
        reasons.append("the pose lies outside of the range that was searched")
    if not figures["exposed"] >= limits.exposed:
        reasons.append(f"only {figures['exposed']:.0%} of the image is exposed")
    share = min(
        max(0.0, figures["similarity"]),
        1 / (1 + figures["disagreement_mm"] / limits.disagreement_mm),
        1 / (1 + figures["gradient"] / limits.gradient),
    )
    return Confidence(not reasons, reasons, share, figures)
