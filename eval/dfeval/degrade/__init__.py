"""Degraded versions of a labelled folder: telephone, codecs, noise, rooms, lost packets, cut silence, a lower rate."""

from dfeval.degrade.folder import Degraded, degrade
from dfeval.degrade.kinds import KINDS, Condition, conditions_of

__all__ = ["KINDS", "Condition", "Degraded", "conditions_of", "degrade"]
