"""Write yamnet-minilm, the small backbone of the results pages, as a folder that `--model` opens.

python benchmarks/yamnet_minilm.py ../shared/backbones/yamnet-minilm models/yamnet-minilm
alm-prompt benchmark sept-base-to-new --model models/yamnet-minilm --data-root ../shared/data --datasets esc10 drums \
    --output-dir runs/sept
"""

from __future__ import annotations

import argparse
from pathlib import Path

from alm_prompt import AlmForAudioClassification
from alm_prompt.models.convert.yamnet_minilm import import_yamnet_minilm


def main() -> None:
    """Convert the backbone."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("backbone", type=Path, help="folder of yamnet-minilm")
    parser.add_argument("output", type=Path, help="folder to write")
    args = parser.parse_args()
    alm, processor = import_yamnet_minilm(args.backbone)
    model = AlmForAudioClassification(alm.config, processor.tokenizer)
    model.alm.load_state_dict(alm.state_dict())
    model.save_pretrained(args.output)
    processor.save_pretrained(args.output)


if __name__ == "__main__":
    main()
