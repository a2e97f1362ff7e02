"""A context of words adapted to audio without labels: to every clip before it is predicted, and once for all clips.

python examples/adapt_to_unlabelled_audio.py
python examples/adapt_to_unlabelled_audio.py --data my-sounds --model laion/clap-htsat-unfused
"""

from dataclasses import dataclass, field
from importlib.resources import files

from peft import PeftModel, get_peft_model
from transformers import HfArgumentParser

from alm_prompt import (
    AlmForAudioClassification,
    AlmProcessor,
    CoOpPromptConfig,
    TtaPromptConfig,
    adapt,
    predict_adapted,
    view_features,
)
from alm_prompt.data import load_clips, sample_shots
from alm_prompt.data.world import world_clips
from alm_prompt.evaluation import accuracy, predict_features


@dataclass
class ExampleArguments:
    data: str | None = field(default=None, metadata={"help": "Folder per class, or CSV; the sound world if unset."})
    model: str = field(
        default=str(files("alm_prompt") / "assets" / "tiny_alm"), metadata={"help": "Folder or Hub id of the model."}
    )
    words: str = field(default="this is a sound of", metadata={"help": "Words that the context starts from."})
    clips_per_class: int = field(default=2, metadata={"help": "Clips of each class to adapt to and predict."})
    at_once: int = field(default=1, metadata={"help": "Clips adapted to at once; 1 and 5 in the paper."})
    views: int = field(default=64, metadata={"help": "Views of every clip."})
    seed: int = field(default=0, metadata={"help": "Seed of the choice of clips and of the views."})
    output_dir: str = field(default="runs/adapted", metadata={"help": "Folder for the adapted adapter."})


def main() -> None:
    [args] = HfArgumentParser(ExampleArguments).parse_args_into_dataclasses()
    clips = load_clips(args.data) if args.data else world_clips(per_class=args.clips_per_class)
    clips = sample_shots(clips, args.clips_per_class, seed=args.seed)
    alm = AlmForAudioClassification.from_pretrained(args.model, class_names=clips.class_names)
    processor = AlmProcessor.from_pretrained(args.model)
    # Labels are for the figures printed below; nothing else reads them.
    labels = clips.label_ids(alm.class_names)

    config = TtaPromptConfig(prompt=CoOpPromptConfig(ctx_init=args.words), clips=args.at_once, views=args.views)
    model = get_peft_model(alm, config)
    views = view_features(model, processor, [clip.source for clip in clips], seed=args.seed)
    features = views[:, 0]  # the first view is the clip itself
    print(f"before: {accuracy(predict_features(model, features), labels):.3f} on {len(clips)} clips")

    # 1. Every prediction by an adaptation of its own; the adapter comes back as it was.
    logits = predict_adapted(model, views)
    print(f"adapted to each: {accuracy(logits.argmax(dim=-1).tolist(), labels):.3f}")

    # 2. One adaptation, to the first clips, for all; this adapter is worth saving.
    adapt(model, views[: args.at_once])
    print(f"adapted once: {accuracy(predict_features(model, features), labels):.3f}")
    model.save_pretrained(args.output_dir)
    loaded = PeftModel.from_pretrained(AlmForAudioClassification.from_pretrained(args.model), args.output_dir)
    print(f"reloaded from {args.output_dir}: {accuracy(predict_features(loaded, features), labels):.3f}")


if __name__ == "__main__":
    main()
