"""What can go wrong with the registry, as errors of ours in place of MLflow's."""

from collections.abc import Iterator
from contextlib import contextmanager

from credit_risk.scoring.stored import ModelRefused

_NOT_FOUND = "RESOURCE_DOES_NOT_EXIST"


class RegistryUnavailable(ConnectionError):
    """MLflow does not answer, or not as it should."""


class NoSuchVersion(LookupError):
    """The registry has no such version of the model."""


class ApprovalRejected(ValueError):
    """The version may not, or cannot, become Production; the message says why."""


class DigestMismatch(ModelRefused):
    """What is stored of a version is not what was registered or approved."""


class OtherDataset(ValueError):
    """The registry holds a version of another data set; the message says what to do."""


@contextmanager
def mlflow_errors(missing: str = "there is no such version") -> Iterator[None]:
    """Raise the errors of MLflow's client in the block as those of the registry.

    Parameters
    ----------
    missing : str
        The message where MLflow has no such resource.

    Raises
    ------
    NoSuchVersion, RegistryUnavailable
    """
    # Imported when it is needed; see `client`.
    import requests
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        # When a download fails, the server's error code is only in the message.
        if error.error_code == _NOT_FOUND or f'"{_NOT_FOUND}"' in str(error):
            raise NoSuchVersion(missing) from None
        raise RegistryUnavailable(f"MLflow: {error}") from error
    except (requests.RequestException, OSError) as error:
        raise RegistryUnavailable(f"MLflow: {error}") from error
