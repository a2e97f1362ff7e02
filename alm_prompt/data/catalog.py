"""The eleven data sets of the benchmarks of PALM (arXiv 2409.19806), SEPT (2601.20867) and ZEBRA (2606.31587)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class KnownDataset:
    """What is published about a data set of the benchmarks.

    Args:
        name: Name of its folder, and of the data set in results.
        task: What its classes are.
        class_names: Classes, sorted, as they stand in the CSV files and in prompts.
        test_clips: Clips in the test list of every fold; one number where there is one pair of lists.
        licence: Licence of the recordings, as far as known.
        zipped: Whether the Hub holds a zip file, whose contents have to move one level up.
    """

    name: str
    task: str
    class_names: tuple[str, ...]
    test_clips: tuple[int, ...]
    licence: str = "not stated in our sources"
    zipped: bool = False

    @property
    def hub_id(self) -> str:
        """Name on the Hugging Face Hub."""
        return f"MahiA/{self.folder}"

    @property
    def folder(self) -> str:
        """Name of the folder that holds it."""
        return self.name.removesuffix(CORRECTED)

    @property
    def fold_names(self) -> tuple[str | None, ...]:
        """Names of the folds, from "1"; `(None,)` where there is one pair of lists."""
        if len(self.test_clips) == 1:
            return (None,)
        return tuple(str(number) for number in range(1, len(self.test_clips) + 1))

    @property
    def exchanged_folds(self) -> tuple[str, ...]:
        """Folds whose two files are read the other way round."""
        return ("2", "3", "4") if self.name.endswith(CORRECTED) else ()


CORRECTED = "-corrected"


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(", "))


_PUBLISHED = (
    KnownDataset("Beijing-Opera", "instrument", _names("bangu, daluo, naobo, xiaoluo"), (48, 47, 47, 47, 47)),
    KnownDataset("CREMA-D", "emotion", _names("anger, disgust, fear, happy, neutral, sad"), (1489,)),
    KnownDataset(
        "ESC50-Actions",
        "sound event",
        _names(
            "breathing, brushing teeth, clapping, coughing, crying baby, drinking sipping, footsteps, laughing, "
            "sneezing, snoring"
        ),
        (80,) * 5,
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
        zipped=True,
    ),
    KnownDataset(
        "RAVDESS", "emotion", _names("angry, calm, disgust, fearful, happy, neutral, sad, surprised"), (491,)
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
    ),
    KnownDataset(
        "UrbanSound8K",
        "sound event",
        _names(
            "air conditioner, car horn, children playing, dog bark, drilling, engine idling, gun shot, jackhammer, "
            "siren, street music"
        ),
        (873, 888, 925, 990, 936, 823, 838, 806, 816, 837),
    ),
    KnownDataset(
        "VocalSound",
        "vocal sound",
        _names("Cough, Laughter, Sigh, Sneeze, Sniff, Throat clearing"),
        (3591,),
        zipped=True,
    ),
)

# In the order in which ZEBRA's code takes them: its random halves of the classes depend on it.
CATALOG: Mapping[str, KnownDataset] = MappingProxyType({known.name: known for known in _PUBLISHED})
