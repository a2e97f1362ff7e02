"""Few-shot sound classification with CoOp: on your own folder of sounds, or on the bundled world of sounds.

python examples/coop_few_shot.py
python examples/coop_few_shot.py --data my-sounds --model laion/clap-htsat-unfused --output_dir runs/coop
torchrun --nproc_per_node 2 examples/coop_few_shot.py --use_cpu
"""

from dataclasses import dataclass, field

from peft import PeftModel, get_peft_model
from transformers import HfArgumentParser, set_seed

from alm_prompt import (
    AlmForAudioClassification,
    AlmProcessor,
    AlmPromptError,
    AlmTrainer,
    AlmTrainingArguments,
    AudioFeatureCache,
    CoOpPromptConfig,
)
from alm_prompt.data import AlmCollator, AudioClips, FeatureDataset, load_clips, sample_shots
from alm_prompt.data.world import TINY_MODEL, world_clips
from alm_prompt.distributed import ending_together
from alm_prompt.evaluation import accuracy, predict_features


@dataclass
class ExampleArguments:
    data: str | None = field(default=None, metadata={"help": "Folder per class, or CSV; the sound world if unset."})
    model: str = field(
        default=str(TINY_MODEL), metadata={"help": "Folder or Hub id of the model; default: the bundled one."}
    )
    shots: int = field(default=16, metadata={"help": "Training clips per class."})
    n_ctx: int = field(default=16, metadata={"help": "Number of context vectors."})
    clips_per_class: int = field(default=32, metadata={"help": "Sound world: recordings of each class."})


def main() -> None:
    parser = HfArgumentParser((ExampleArguments, AlmTrainingArguments))
    parser.set_defaults(output_dir="runs/coop", save_strategy="no")
    args, training_args = parser.parse_args_into_dataclasses()

    # 1. Few clips to learn from, and all others to measure on.
    clips = load_clips(args.data) if args.data else world_clips(per_class=args.clips_per_class)
    train = sample_shots(clips, args.shots, seed=training_args.seed)
    trained = {clip.clip_id for clip in train}
    test = AudioClips((clip for clip in clips if clip.clip_id not in trained), clips.class_names)
    if not len(test):
        raise AlmPromptError(f"no clip is left to measure on beside {args.shots} per class; give fewer --shots")

    # 2. The frozen model: zero-shot. Its audio features are computed once.
    alm = AlmForAudioClassification.from_pretrained(args.model, class_names=clips.class_names).to(training_args.device)
    processor, cache = AlmProcessor.from_pretrained(args.model), AudioFeatureCache()
    train_features, test_features = (cache.features(alm, processor, part) for part in (train, test))
    labels = test.label_ids(alm.class_names)
    print(f"zero-shot: {accuracy(predict_features(alm, test_features), labels):.3f} on {len(test)} clips")

    # 3. Learn a context; the encoders do not change.
    set_seed(training_args.seed)
    model = get_peft_model(alm, CoOpPromptConfig(n_ctx=args.n_ctx))
    model.print_trainable_parameters()
    dataset = FeatureDataset(train_features, train.label_ids(alm.class_names))
    trainer = AlmTrainer(model=model, args=training_args, train_dataset=dataset, data_collator=AlmCollator())
    trainer.train()
    if not training_args.should_save:
        return  # Of several processes, one measures and writes.
    print(f"CoOp: {accuracy(predict_features(model.eval(), test_features), labels):.3f}")

    # 4. Save, and load again on a fresh model: a few kilobytes.
    model.save_pretrained(training_args.output_dir)
    fresh = AlmForAudioClassification.from_pretrained(args.model)
    loaded = PeftModel.from_pretrained(fresh, training_args.output_dir).eval().to(training_args.device)
    print(f"reloaded from {training_args.output_dir}: {accuracy(predict_features(loaded, test_features), labels):.3f}")


if __name__ == "__main__":
    with ending_together():
        main()
