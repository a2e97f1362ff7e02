"""Text data with provenance: templates, acoustic neighbours of classes, and descriptions."""

from .checks import checked_descriptions, checked_neighbors, drop_overlaps, same_text
from .generation import ClassNeighbors, check_request, filter_neighbors, generate_neighbors
from .quality import NeighborQuality, neighbor_quality
from .sentences import checked_sentences, class_sentences, sample_sentences
from .text_data import (
    available_sets,
    descriptions,
    neighbors,
    open_descriptions,
    read_descriptions,
    read_neighbors,
    shipped_descriptions,
    shipped_neighbors,
    templates,
)

__all__ = [
    "ClassNeighbors",
    "NeighborQuality",
    "available_sets",
    "check_request",
    "checked_descriptions",
    "checked_neighbors",
    "checked_sentences",
    "class_sentences",
    "descriptions",
    "drop_overlaps",
    "filter_neighbors",
    "generate_neighbors",
    "neighbor_quality",
    "neighbors",
    "open_descriptions",
    "read_descriptions",
    "read_neighbors",
    "same_text",
    "sample_sentences",
    "shipped_descriptions",
    "shipped_neighbors",
    "templates",
]
