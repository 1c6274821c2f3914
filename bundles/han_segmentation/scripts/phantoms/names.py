"""The thirty organs that a phantom shows: numbers and names of HaN-Seg, alphabetical as the challenge counts them."""

from __future__ import annotations

_NAMES = """
A_Carotid_L A_Carotid_R Arytenoid Bone_Mandible Brainstem BuccalMucosa Cavity_Oral Cochlea_L Cochlea_R Cricopharyngeus
Esophagus_S Eye_AL Eye_AR Eye_PL Eye_PR Glnd_Lacrimal_L Glnd_Lacrimal_R Glnd_Submand_L Glnd_Submand_R Glnd_Thyroid
Glottis Larynx_SG Lips OpticChiasm OpticNrv_L OpticNrv_R Parotid_L Parotid_R Pituitary SpinalCord
"""
NAMES: dict[int, str] = dict(enumerate(_NAMES.split(), start=1))
NUMBERS: dict[str, int] = {name: number for number, name in NAMES.items()}
