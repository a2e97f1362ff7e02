"""`alm-prompt export`: what an adapter has learned, in files that are used without this package."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import AlmPromptError
from .options import ModelOptions, TextOptions
from .parser import CommandParser
from .writing_options import ExportOptions

if TYPE_CHECKING:
    from ..models import AlmProcessor

DESCRIPTION = "Write an adapter's class embeddings, and with --onnx the audio tower, for use without alm_prompt."


def run(argv: list[str]) -> None:
    """Write the files and say what they are.

    Raises:
        AlmPromptError: the adapter cannot be opened or has no class embeddings, the folder is taken or cannot be
            written, or the packages for ONNX are missing.
    """
    parser = CommandParser("export", DESCRIPTION, [ExportOptions, TextOptions])
    parser.add_argument("adapter", help="folder or Hub id of the adapter")
    parser.add_argument("output", help="folder to write, new or empty")
    options, text, request = parser.parse(argv)
    from transformers.utils import FEATURE_EXTRACTOR_NAME

    from ..export import AUDIO_TOWER_NAME, EMBEDDINGS_NAME, check_onnx
    from .loading import open_classifier
    from .run_folder import check_writable

    folder = Path(request.output)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise AlmPromptError(f"{folder} exists and is not an empty folder; choose another to export to")
    check_writable(folder, "folder")
    if options.onnx:
        check_onnx()
    model, processor = open_classifier(request.adapter, ModelOptions(**vars(text)), options.classes)
    model.cpu()
    try:
        _write(model, processor, folder, options.onnx)
    except BaseException:
        # What was left would keep the command from being repeated.
        for name in (EMBEDDINGS_NAME, AUDIO_TOWER_NAME, FEATURE_EXTRACTOR_NAME):
            (folder / name).unlink(missing_ok=True)
        raise


def _write(model: Any, processor: AlmProcessor, folder: Path, onnx: bool) -> None:
    from ..export import AUDIO_TOWER_NAME, EMBEDDINGS_NAME, export_audio_tower, export_class_embeddings

    export_class_embeddings(model, folder / EMBEDDINGS_NAME)
    print(f"{folder / EMBEDDINGS_NAME}: {len(model.class_names)} classes of {model.config.projection_dim} numbers")
    if onnx:
        difference = export_audio_tower(model, processor.feature_extractor, folder / AUDIO_TOWER_NAME)
        processor.feature_extractor.save_pretrained(folder)
        print(f"{folder / AUDIO_TOWER_NAME}: differs from the model by {difference:.1e} of its largest feature")
