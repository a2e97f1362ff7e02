"""Contrastive pre-training of a small audio-language model on your audio-caption pairs or the bundled sound world.

python examples/pretrain_contrastive.py --csv pairs.csv --rewrites rewrites.json --output_dir my-alm
torchrun --nproc_per_node 2 examples/pretrain_contrastive.py --world --pairs 40000 --output_dir tiny-alm"""

from dataclasses import dataclass, field

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import CLIPTextConfig, HfArgumentParser, PreTrainedTokenizerFast, Trainer, TrainingArguments

from alm_prompt import AlmConfig, AlmFeatureExtractor, AlmModel, AlmProcessor
from alm_prompt.data import CaptionDataset, SetEpoch, load_csv
from alm_prompt.data.world import vocabulary, world_example
from alm_prompt.distributed import ending_together
from alm_prompt.models.audio_towers import CnnAudioConfig
from alm_prompt.prompts import read_descriptions

PAD, END, START = "<|pad|>", "<|endoftext|>", "<|startoftext|>"  # ids 0, 1, 2


@dataclass
class PretrainArguments:
    csv: str | None = field(default=None, metadata={"help": "CSV file with the columns path and caption."})
    rewrites: str | None = field(default=None, metadata={"help": "JSON file with rewrites of every caption."})
    world: bool = field(default=False, metadata={"help": "Train on the bundled procedural sound world instead."})
    pairs: int = field(default=40_000, metadata={"help": "Sound world: number of pairs to generate."})
    clip_seconds: float = field(default=2.0, metadata={"help": "Length that every clip is cropped or padded to."})
    width: int = field(default=128, metadata={"help": "Width of the text tower; the audio tower follows it."})


class WorldPairs:  # the first pairs of the sound world's stream, made when they are asked for
    def __init__(self, pairs: int, seed: int) -> None:
        self.pairs, self.seed = pairs, seed

    def __len__(self) -> int:
        return self.pairs

    def __getitem__(self, index: int) -> tuple:
        return *world_example(self.seed, index)[:2], ()


def train_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """Byte-level BPE, lower-case: frequent words are one token, and any text at all has tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    settings = {"special_tokens": [PAD, END, START], "initial_alphabet": pre_tokenizers.ByteLevel.alphabet()}
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=2048, **settings))
    tokenizer.post_processor = processors.TemplateProcessing(f"{START} $A {END}", None, [(END, 1), (START, 2)])
    ends = {"bos_token": START, "eos_token": END, "pad_token": PAD}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=77, **ends)


def build(width: int, clip_seconds: float, texts: list[str]) -> tuple[AlmModel, AlmProcessor]:
    """A small untrained dual encoder, and the processor that goes with it."""
    tokenizer = train_tokenizer(texts)
    mel = {"sampling_rate": 16_000, "hop_length": 320, "f_max": 8000.0, "log_floor": 1e-4}
    processor = AlmProcessor(AlmFeatureExtractor(clip_seconds=clip_seconds, pad="tile", **mel), tokenizer)
    size = {"hidden_size": width, "intermediate_size": 4 * width, "num_attention_heads": width // 32}
    ids = {"vocab_size": len(tokenizer), "bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0}
    text = CLIPTextConfig(num_hidden_layers=3, **size, **ids)
    channels = [width // 8, width // 4, width // 2, width]
    audio = CnnAudioConfig(channels=channels, hidden_size=2 * width, block_dropout=0.0, embedding_dropout=0.1)
    return AlmModel(AlmConfig(audio_config=audio, text_config=text, projection_dim=2 * width)), processor


def main() -> None:
    args, training_args = HfArgumentParser((PretrainArguments, TrainingArguments)).parse_args_into_dataclasses()
    if args.world == bool(args.csv):
        raise SystemExit("error: give either --csv pairs.csv or --world")
    torch.manual_seed(training_args.seed)
    if args.world:
        pairs, texts = WorldPairs(args.pairs, training_args.seed), vocabulary()
    else:
        rewrites = read_descriptions(args.rewrites) if args.rewrites else {}
        clips = load_csv(args.csv, label_column="caption")
        pairs = [(clip.source, clip.label, rewrites.get(clip.label, ())) for clip in clips]
        texts = [text for _, caption, others in pairs for text in (caption, *others)]
    dataset = CaptionDataset(pairs, training_args.seed)
    model, processor = build(args.width, args.clip_seconds, texts)
    model.audio_tower.to(memory_format=torch.channels_last)  # convolutions on CPU take half the time

    def collate(batch: list[dict]) -> dict:
        audio, text = ([pair[name] for pair in batch] for name in ("audio", "text"))
        return {**processor(audio, text, sampling_rate=16_000, truncation=True), "return_loss": True}

    training_args.remove_unused_columns = False
    training_args.dataloader_pin_memory = torch.cuda.is_available()  # without a GPU torch warns
    trainer = Trainer(model, training_args, collate, dataset, callbacks=[SetEpoch(dataset)])
    trainer.train()
    if training_args.should_save:
        model.half().to(memory_format=torch.contiguous_format).save_pretrained(training_args.output_dir)
        processor.save_pretrained(training_args.output_dir)


if __name__ == "__main__":
    with ending_together():
        main()
