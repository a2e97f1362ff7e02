"""What the sounds of the world are called: its compositions, and captions with synonyms for them.

A caption never contradicts its sound. It may leave attributes out, as people do, and it may use an everyday name
("a siren") for any composition that the name fits.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import product

import numpy as np

from .synth import MOTIONS, PITCHES, RHYTHMS, STRUCK, TEXTURES, VOICES, Sound


@dataclass(frozen=True)
class Pattern:
    """A set of compositions: for every attribute the values that fit (empty: any).

    The values of one attribute are written as one string with spaces between them, as in `Pattern(pitch="low mid")`.
    """

    source: str = ""
    pitch: str = ""
    motion: str = ""
    rhythm: str = ""
    texture: str = ""

    def fits(self, sound: Sound) -> bool:
        """Whether `sound` has a listed value in every attribute that lists any."""
        wanted = ((getattr(self, field.name), getattr(sound, field.name)) for field in fields(self))
        return all(not values or value in values.split() for values, value in wanted)


WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    "source": {
        "tone": ("tone", "note", "beep"),
        "buzz": ("buzz", "drone", "hum"),
        "whistle": ("whistle", "pipe", "flute"),
        "noise": ("noise", "hiss", "static"),
        "bell": ("bell", "chime", "ringing metal"),
        "pluck": ("plucked string", "string", "twang"),
        "click": ("click", "tick", "tap"),
        "drum": ("drum", "thump", "thud"),
        "chirp": ("chirp", "tweet", "peep"),
    },
    "pitch": {
        "low": ("low", "deep", "low-pitched", "bass"),
        "mid": ("medium", "middle", "mid-range", "medium-pitched"),
        "high": ("high", "shrill", "high-pitched", "treble"),
    },
    "motion": {
        "steady": ("steady", "level", "constant"),
        "rising": ("rising", "climbing", "ascending"),
        "falling": ("falling", "dropping", "descending"),
        "wobbling": ("wobbling", "wavering", "warbling"),
    },
    "rhythm": {
        "continuous": ("continuous", "sustained", "unbroken"),
        "single": ("single", "lone", "solitary"),
        "slow": ("slow", "unhurried", "slowly repeating"),
        "fast": ("fast", "rapid", "quickly repeating"),
        "accelerating": ("accelerating", "quickening", "hastening"),
    },
    "texture": {
        "clean": ("clean", "pure", "clear"),
        "rough": ("rough", "harsh", "gritty"),
        "hollow": ("hollow", "boxy", "tubular"),
    },
}

GERUNDS: dict[str, tuple[str, ...]] = {
    "tone": ("beeping", "sounding"),
    "buzz": ("buzzing", "humming", "droning"),
    "whistle": ("whistling", "piping"),
    "noise": ("hissing", "rushing"),
    "bell": ("ringing", "chiming"),
    "pluck": ("plucking", "twanging"),
    "click": ("clicking", "ticking", "tapping"),
    "drum": ("drumming", "thumping"),
    "chirp": ("chirping", "tweeting"),
}

EVERYDAY_NAMES: dict[str, Pattern] = {
    "alarm clock": Pattern("buzz tone", "high", "", "fast"),
    "bass guitar": Pattern("pluck", "low"),
    "bee": Pattern("buzz", "mid", "wobbling"),
    "bird song": Pattern("chirp", "mid high"),
    "boiling kettle": Pattern("whistle", "", "rising", "continuous"),
    "bouncing ball": Pattern("drum click", "", "", "accelerating"),
    "breeze": Pattern("noise", "high", "", "continuous"),
    "church bell": Pattern("bell", "low"),
    "clock ticking": Pattern("click", "mid high", "", "slow fast"),
    "dripping tap": Pattern("chirp click", "mid", "", "slow"),
    "electric hum": Pattern("buzz tone", "low", "steady", "continuous slow"),
    "falling whistle": Pattern("whistle", "", "falling"),
    "foghorn": Pattern("buzz tone", "low", "", "slow"),
    "footsteps": Pattern("drum click", "low", "", "slow"),
    "gong": Pattern("bell", "low", "", "single"),
    "guitar": Pattern("pluck", "mid"),
    "hand drum": Pattern("drum", "low mid", "", "slow fast"),
    "harp": Pattern("pluck", "mid high", "rising falling"),
    "heartbeat": Pattern("drum", "low", "steady", "slow"),
    "helicopter": Pattern("noise", "low", "", "fast"),
    "howling wind": Pattern("noise", "", "wobbling", "continuous"),
    "knocking": Pattern("drum click", "low mid", "", "fast"),
    "laser": Pattern("chirp tone", "high", "falling", "fast single"),
    "mosquito": Pattern("buzz", "high", "", "continuous"),
    "ocean waves": Pattern("noise", "low mid", "", "slow"),
    "police siren": Pattern("tone buzz whistle", "", "wobbling", "continuous"),
    "raindrops": Pattern("click", "high", "", "accelerating fast"),
    "revving engine": Pattern("buzz", "low mid", "rising"),
    "steam": Pattern("noise", "mid high", "steady", "continuous"),
    "telephone ringing": Pattern("bell tone", "high", "", "fast"),
    "thunder": Pattern("noise", "low", "falling", "continuous"),
    "wind chimes": Pattern("bell", "high", "", "slow accelerating"),
    "woodpecker": Pattern("click drum", "mid", "", "fast accelerating"),
}

FRAMES = (
    "{}",
    "the sound of {}",
    "this is a sound of {}",
    "a recording of {}",
    "i hear {}",
    "you can hear {} in the background",
    "in this short recording you can hear {}",
)

# Words that no caption uses; they get tokens of their own, so that other people's class names stay short.
OTHER_WORDS = """
air airplane alarm animal applause baby bark bass beat bicycle big bird boat breath bright brush bus call car
cat cheering child children city clap clarinet cock cough cow cricket crow crowd cry cup cymbal dark dishes dog
door drill drop drum duck electric engine fan fire firework fly footstep forest frog gas glass goat guitar gun
hammer hand harmonica heart hen horn horse house insect jet keyboard keys kick kitchen knife knock laugh
laughter lawn leaf light loud machine male female man woman metal microwave money motor motorcycle mouse music
night office one orchestra organ owl paper people person phone piano pig plane playing pot pouring printer quiet
radio rail rain river road robot rooster saw saxophone sea sheep ship shower singing siren sneeze snap snare
snore snow soft song speech station step stone storm street tambourine telephone thunder thunderstorm toilet
tool traffic train truck trumpet turn typing vacuum cleaner vehicle violin voice walk wash water wave whisper
wind window wood zero two three four five six seven eight nine
"""

# Chance that a caption mentions an attribute; a value that is the usual case is seldom worth a word.
_MENTION = {"pitch": 0.7, "motion": 0.85, "rhythm": 0.7, "texture": 0.5}
_MENTION_USUAL = 0.25
_USUAL = ("steady", "clean")
_EVERYDAY_SHARE = 0.35
_TWO_SENTENCES_SHARE = 0.15


def all_sounds() -> tuple[Sound, ...]:
    """Every composition of the world. A struck source cannot be continuous; a sustained one has no single stroke."""
    every = (Sound(*values) for values in product(VOICES, PITCHES, MOTIONS, RHYTHMS, TEXTURES))
    return tuple(sound for sound in every if sound.rhythm != ("continuous" if sound.source in STRUCK else "single"))


def everyday_names(sound: Sound) -> list[str]:
    """The everyday names that fit `sound`, alphabetically."""
    return [name for name, pattern in EVERYDAY_NAMES.items() if pattern.fits(sound)]


def vocabulary() -> list[str]:
    """Pieces of text that together hold every word of every caption, and a list of other words; for a tokenizer."""
    synonyms = [text for values in WORDS.values() for texts in values.values() for text in texts]
    gerunds = [text for texts in GERUNDS.values() for text in texts]
    frames = [frame.format("a, an and") + "." for frame in FRAMES]
    return [*synonyms, *gerunds, *EVERYDAY_NAMES, *frames, OTHER_WORDS]


def caption(sound: Sound, rng: np.random.Generator) -> str:
    """One caption of `sound`, drawn from the grammar.

    Args:
        sound: The composition to describe.
        rng: Decides wording, word order, which attributes are left out, and whether there is a second sentence.

    Returns:
        Lower-case text of one or two sentences.
    """
    text = _sentence(sound, rng)
    if rng.uniform() < _TWO_SENTENCES_SHARE:
        return f"{text}. {_sentence(sound, rng)}."
    return text + "." * int(rng.integers(2))


def _sentence(sound: Sound, rng: np.random.Generator) -> str:
    names = everyday_names(sound)
    use_name = bool(names) and rng.uniform() < _EVERYDAY_SHARE
    adjectives = _adjectives(sound, rng, 0.3 if use_name else 1.0)
    if use_name:
        phrase = _phrase(_pick(names, rng), adjectives, rng)
    elif rng.uniform() < 0.3:
        phrase = " ".join([*adjectives, _pick(GERUNDS[sound.source], rng)])
    else:
        phrase = _phrase(_pick(WORDS["source"][sound.source], rng), adjectives, rng)
        if rng.uniform() < 0.5:
            phrase = ("an " if phrase[0] in "aeiou" else "a ") + phrase
    return _pick(FRAMES, rng).format(phrase)


def _adjectives(sound: Sound, rng: np.random.Generator, scale: float) -> list[str]:
    chosen = []
    for attribute, chance in _MENTION.items():
        value = getattr(sound, attribute)
        if rng.uniform() < scale * (_MENTION_USUAL if value in _USUAL else chance):
            chosen.append(_pick(WORDS[attribute][value], rng))
    return [chosen[i] for i in rng.permutation(len(chosen))]


def _phrase(noun: str, adjectives: list[str], rng: np.random.Generator) -> str:
    """Adjectives before the noun, or the last one or two after it ("low bell, slow and rough")."""
    if len(adjectives) < 2 or rng.uniform() < 0.6:
        return " ".join([*adjectives, noun])
    after = int(rng.integers(1, 3))
    return " ".join([*adjectives[:-after], noun]) + ", " + " and ".join(adjectives[-after:])


def _pick(options: tuple[str, ...] | list[str], rng: np.random.Generator) -> str:
    return options[int(rng.integers(len(options)))]
