"""Pictures of what was learned and measured, as matplotlib figures; needs the extra `plots`."""

from ...errors import AlmPromptError

try:
    import matplotlib  # noqa: F401
except ImportError as error:
    raise AlmPromptError('plots need matplotlib, which is not installed; pip install "alm-prompt[plots]"') from error

from .accuracy import accuracy_over_shots, base_novel_scatter
from .confusion import confusion_matrix
from .learned import learned_mixing, loss_parts
from .neighbors import ClassTexts, embed_texts, neighbor_similarity, neighbor_tsne
from .style import save_figure

__all__ = [
    "ClassTexts",
    "accuracy_over_shots",
    "base_novel_scatter",
    "confusion_matrix",
    "embed_texts",
    "learned_mixing",
    "loss_parts",
    "neighbor_similarity",
    "neighbor_tsne",
    "save_figure",
]
