"""Pictures of an evaluation: colour-blind safe, readable at half their size, the same for a page, a PNG and an SVG."""

from dfeval.plots.pictures import Picture, draw_all
from dfeval.plots.timeline import draw_timeline

__all__ = ["Picture", "draw_all", "draw_timeline"]
