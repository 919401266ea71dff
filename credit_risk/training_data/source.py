"""Where the data for training are."""

from credit_risk.schema.dataset_file import training_file
from credit_risk.settings import Settings


def training_source(settings: Settings) -> str:
    """Return where the base data for training are: DATA, or the file of the definition.

    Raises
    ------
    InvalidDataset
        When neither is given.
    """
    return settings.data or str(training_file(settings.dataset))
