"""Scores the parts of a run in this process."""

import time
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from typing import NamedTuple

from google.api_core.exceptions import GoogleAPIError
from google.auth.exceptions import GoogleAuthError

from credit_risk.registry.errors import NoSuchVersion, RegistryUnavailable
from credit_risk.scoring.stored import ModelRefused
from credit_risk.settings import Settings
from credit_risk.storage.documents import LogUnavailable
from model_deployment.portfolio.errors import NotScored
from model_deployment.portfolio.part import Figures, PartScorer
from model_deployment.portfolio.plan import Run
from model_deployment.portfolio.source import Part

# A server that is being restarted is back within half a minute.
WAITS = (2.0, 10.0, 30.0)
_PASSING = (LogUnavailable, RegistryUnavailable, GoogleAPIError, GoogleAuthError)


class Outcome(NamedTuple):
    """What became of a part: its figures, or why it was not scored."""

    part: Part
    figures: Figures | None
    error: str = ""


def in_process(run: Run, parts: Sequence[Part], settings: Settings) -> Iterator[Outcome]:
    """Score parts one after the other, each on all processors."""
    for part in parts:
        yield outcome(part, partial(score, run, part, settings))


def outcome(part: Part, scored: Callable[[], Figures]) -> Outcome:
    """Return what became of a part, from a function that returns its figures or raises."""
    try:
        return Outcome(part, scored())
    except NotScored as error:
        return Outcome(part, None, str(error))
    except (ModelRefused, NoSuchVersion, OSError, *_PASSING) as error:
        return Outcome(part, None, f"{part.name}: {error}")


def score(run: Run, part: Part, settings: Settings | None = None) -> Figures:
    """Score a part, and try again when what it needs is away for a while."""
    settings = settings or Settings()
    for wait in WAITS:
        try:
            return _scorer(run, settings).score(part)
        except _PASSING:
            time.sleep(wait)
    return _scorer(run, settings).score(part)


@lru_cache(maxsize=1)
def _scorer(run: Run, settings: Settings) -> PartScorer:
    """Return what scores the parts of a run, loaded once in a process."""
    return PartScorer(run, settings)
