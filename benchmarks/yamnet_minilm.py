"""Write yamnet-minilm, the small backbone of the results pages, as a folder that `--model` opens.

python benchmarks/yamnet_minilm.py ../shared/backbones/yamnet-minilm models/yamnet-minilm
alm-prompt benchmark sept-base-to-new --model models/yamnet-minilm --data-root ../shared/data --datasets esc10 drums \
    --output-dir runs/sept
"""

from __future__ import annotations

import argparse
from pathlib import Path

from alm_prompt import AlmForAudioClassification, AlmProcessor
from alm_prompt.models.convert.yamnet_minilm import import_yamnet_minilm


def open_yamnet_minilm(folder: Path) -> tuple[AlmForAudioClassification, AlmProcessor]:
    """The backbone as a classifier without classes, in eval mode, and its processor."""
    encoders, processor = import_yamnet_minilm(folder)
    model = AlmForAudioClassification(encoders.config, processor.tokenizer).eval()
    model.alm.load_state_dict(encoders.state_dict())
    return model, processor


def main() -> None:
    """Convert the backbone."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("backbone", type=Path, help="folder of yamnet-minilm")
    parser.add_argument("output", type=Path, help="folder to write")
    args = parser.parse_args()
    model, processor = open_yamnet_minilm(args.backbone)
    model.save_pretrained(args.output)
    processor.save_pretrained(args.output)


if __name__ == "__main__":
    main()
