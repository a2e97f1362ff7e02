"""The eleven data sets of the benchmarks of PALM (arXiv 2409.19806), SEPT (2601.20867) and ZEBRA (2606.31587)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

# What the published figures are trained on: every class of every train list has as many clips.
PUBLISHED_SHOTS = 16

UNKNOWN_LICENCE = "not stated in our sources"

_CORRECTED = "-corrected"


@dataclass(frozen=True)
class KnownDataset:
    """What is published about a data set of the benchmarks.

    Args:
        name: Name of the data set in results.
        task: What its classes are.
        class_names: Classes, sorted, as they stand in the CSV files and in prompts.
        test_clips: Clips in the test list of every fold (None where no source tells); one number where there is one
            pair of lists. From the public logs of PALM.
        fixed_test_clips: Clips in the test list of the pair that ZEBRA takes in place of the folds, where there are
            folds. From the public logs of ZEBRA.
        licence: Licence of the recordings, where its source states one.
        zipped: Whether the Hub holds a zip file instead of the files.
        exchanged_folds: Folds whose two files are read the other way round.
    """

    name: str
    task: str
    class_names: tuple[str, ...]
    test_clips: tuple[int | None, ...]
    fixed_test_clips: int | None = None
    licence: str = UNKNOWN_LICENCE
    zipped: bool = False
    exchanged_folds: tuple[str, ...] = ()

    @property
    def folder(self) -> str:
        """Name of the folder that holds it, and of its repository on the Hub."""
        return self.name.removesuffix(_CORRECTED)

    @property
    def hub_id(self) -> str:
        """Name on the Hugging Face Hub."""
        return f"MahiA/{self.folder}"

    @property
    def fold_names(self) -> tuple[str | None, ...]:
        """Names of the folds, from "1"; `(None,)` where there is one pair of lists."""
        if len(self.test_clips) == 1:
            return (None,)
        return tuple(str(number) for number in range(1, len(self.test_clips) + 1))


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(", "))


# In the order in which ZEBRA's code takes them: its random halves of the classes depend on it.
PUBLISHED = (
    KnownDataset("Beijing-Opera", "instrument", _names("bangu, daluo, naobo, xiaoluo"), (48, 47, 47, 47, 47), 48),
    KnownDataset(
        "CREMA-D", "emotion", _names("anger, disgust, fear, happy, neutral, sad"), (1489,), licence="ODbL 1.0"
    ),
    KnownDataset(
        "ESC50-Actions",
        "sound event",
        _names(
            "breathing, brushing teeth, clapping, coughing, crying baby, drinking sipping, footsteps, laughing, "
            "sneezing, snoring"
        ),
        (80,) * 5,
        80,
        licence="CC BY-NC 3.0",
    ),
    KnownDataset(
        "ESC50",
        "sound event",
        _names(
            "airplane, breathing, brushing teeth, can opening, car horn, cat, chainsaw, chirping birds, church bells, "
            "clapping, clock alarm, clock tick, coughing, cow, crackling fire, crickets, crow, crying baby, dog, "
            "door wood creaks, door wood knock, drinking sipping, engine, fireworks, footsteps, frog, glass breaking, "
            "hand saw, helicopter, hen, insects, keyboard typing, laughing, mouse click, pig, pouring water, rain, "
            "rooster, sea waves, sheep, siren, sneezing, snoring, thunderstorm, toilet flush, train, vacuum cleaner, "
            "washing machine, water drops, wind"
        ),
        (400,) * 5,
        400,
        licence="CC BY-NC 3.0",
    ),
    KnownDataset(
        "GT-Music-Genre",
        "music",
        _names("blues, classical, country, disco, hiphop, jazz, metal, pop, reggae, rock"),
        (200,),
    ),
    KnownDataset(
        "NS-Instruments",
        "instrument",
        _names("bass, brass, flute, guitar, keyboard, mallet, organ, reed, string, vocal"),
        (4096,),
        licence="CC BY 4.0",
        zipped=True,
    ),
    KnownDataset(
        "RAVDESS",
        "emotion",
        _names("angry, calm, disgust, fearful, happy, neutral, sad, surprised"),
        (491,),
        licence="CC BY-NC-SA 4.0",
    ),
    KnownDataset("SESA", "surveillance", _names("casual, explosion, gunshot, siren"), (105,)),
    KnownDataset(
        "TUT2017",
        "acoustic scene",
        _names(
            "beach, bus, cafe/restaurant, car, city_center, forest_path, grocery_store, home, library, metro_station, "
            "office, park, residential_area, train, tram"
        ),
        (1170, 3507, 3507, 3510),
        936,
    ),
    KnownDataset(
        "UrbanSound8K",
        "sound event",
        _names(
            "air conditioner, car horn, children playing, dog bark, drilling, engine idling, gun shot, jackhammer, "
            "siren, street music"
        ),
        (873, 888, 925, 990, 936, 823, 838, 806, 816, 837),
        1747,
        licence="CC BY-NC 3.0",
    ),
    KnownDataset(
        "VocalSound",
        "vocal sound",
        _names("Cough, Laughter, Sigh, Sneeze, Sniff, Throat clearing"),
        (3591,),
        zipped=True,
    ),
)

_TUT2017 = next(known for known in PUBLISHED if known.name == "TUT2017")

# The files of folds 2 to 4 of TUT2017 look exchanged: three quarters of the clips are in the test lists.
_TUT2017_CORRECTED = replace(
    _TUT2017,
    name=_TUT2017.name + _CORRECTED,
    test_clips=(_TUT2017.test_clips[0], None, None, None),
    exchanged_folds=("2", "3", "4"),
)

CATALOG: Mapping[str, KnownDataset] = MappingProxyType(
    {known.name: known for known in (*PUBLISHED, _TUT2017_CORRECTED)}
)
