"""`alm-prompt convert`: an official checkpoint becomes a folder that every other command opens."""

from __future__ import annotations

from .parser import CommandParser
from .writing_options import ConvertOptions

DESCRIPTION = "Convert an official checkpoint into a folder that --model and from_pretrained open."


def run(argv: list[str]) -> None:
    """Convert one checkpoint and say what became of it.

    Raises:
        AlmPromptError: the checkpoint cannot be read or is of another family, or the folder is taken.
    """
    parser = CommandParser("convert", DESCRIPTION, [ConvertOptions])
    parser.add_argument("family", help="pengi, msclap-2022, msclap-2023, laion or reclap")
    parser.add_argument("checkpoint", help="official weight file: .pth, .pt, or .safetensors with the same tensors")
    parser.add_argument("output", help="folder to write, new or empty")
    options, request = parser.parse(argv)
    from ..models.convert.checkpoint import REPORT_NAME, convert_checkpoint

    report = convert_checkpoint(request.family, request.checkpoint, request.output, **vars(options))
    tensors, filters = report["tensors"], report["mel_filters"]
    print(f"{request.output}: {report['parameters']:,} parameters in {tensors['written']} tensors")
    print(f"left out: {tensors['dropped']} of the checkpoint's {tensors['read']} tensors, listed in {REPORT_NAME}")
    if filters["max_difference"] is not None:
        kept = "the checkpoint's own are kept" if filters["stored"] else "the same"
        print(f"mel filters: at most {filters['max_difference']:.1e} from the published recipe, {kept}")
    print(f"logit scale: {report['logit_scale']:.4g}")
