"""A procedural sound world: a pre-training stream of captioned sounds, and a downstream task shifted from it."""

# The bundled tiny model was pre-trained on the stream of this world.
from ...hub import TINY_FOLDER as TINY_MODEL
from .grammar import vocabulary
from .stream import pretraining_sounds, world_example
from .task import WORLD_CLASSES, world_clips, write_world

__all__ = [
    "TINY_MODEL",
    "WORLD_CLASSES",
    "pretraining_sounds",
    "vocabulary",
    "world_clips",
    "world_example",
    "write_world",
]
