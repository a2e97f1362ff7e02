"""What lies beside an adapter's numbers (checksum, results, model card), and how all of it goes to the Hub."""

from .backbones import TINY, TINY_FOLDER, is_repo_id, lasting_name, recorded_name, shared_name
from .card import CARD_NAME, write_card
from .checksum import LARGEST_WEIGHTS, check_weights, file_sha256
from .failures import hub_failures
from .fetching import fetch_file
from .push import push_adapter
from .reading import LARGEST_CONFIG, read_config
from .record import earlier_results, record_results
from .results import RESULTS_NAME, AdapterResults, Figure, Measurement

__all__ = [
    "CARD_NAME",
    "LARGEST_CONFIG",
    "LARGEST_WEIGHTS",
    "RESULTS_NAME",
    "TINY",
    "TINY_FOLDER",
    "AdapterResults",
    "Figure",
    "Measurement",
    "check_weights",
    "earlier_results",
    "fetch_file",
    "file_sha256",
    "hub_failures",
    "is_repo_id",
    "lasting_name",
    "push_adapter",
    "read_config",
    "record_results",
    "recorded_name",
    "shared_name",
    "write_card",
]
