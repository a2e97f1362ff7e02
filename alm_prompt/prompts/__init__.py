"""Text data with provenance: templates, acoustic neighbours of classes, and descriptions."""

from .text_data import (
    available_sets,
    checked_neighbors,
    descriptions,
    drop_overlaps,
    neighbors,
    read_neighbors,
    same_text,
    templates,
)

__all__ = [
    "available_sets",
    "checked_neighbors",
    "descriptions",
    "drop_overlaps",
    "neighbors",
    "read_neighbors",
    "same_text",
    "templates",
]
