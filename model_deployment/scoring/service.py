"""From a body to decisions in the log: validate, decide, commit, and only then answer."""

import hashlib
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import IO, Any, NamedTuple

import numpy as np
import pyarrow as pa

from credit_risk.access.caller import Caller
from credit_risk.decision_log.batch import AlreadyCommitted, Batch, BatchRecord
from credit_risk.decision_log.log import DecisionLog
from credit_risk.registry.errors import NoSuchVersion, RegistryUnavailable
from credit_risk.schema.applications import Applications
from credit_risk.schema.attributes import LABEL, RED, Labels
from credit_risk.schema.validation import Validator
from credit_risk.scoring.decisions import Decisions
from credit_risk.scoring.explanation import NotExplainable
from credit_risk.scoring.model import CreditScorer
from credit_risk.scoring.stored import ModelRefused
from model_deployment.files.formats import UploadedFile
from model_deployment.files.result import Result
from model_deployment.scoring.errors import DecidedBefore, KeyReused, NoRoom, TooManyToExplain
from model_deployment.scoring.live_model import LiveModel, Serving
from model_deployment.scoring.metrics import Metrics

# What may be requested beside decisions.
REASONS = "reasons"
CHANGES = "what_would_change_it"
# Finding what would turn a red decision green takes up to 30 ms with a model of 1,250 trees.
MAX_CHANGED = 250
PREVIEW = "this is the sample file: a preview, kept out of monitoring and history"


class Scored(NamedTuple):
    """A batch as committed, the scorer that decided it, and what people read of values first."""

    batch: Batch
    scorer: CreditScorer
    labels: Labels


class Scoring:
    """Decides on lists and files of applications.

    Every method raises `MalformedFile` when the body is not a list of applications, `ScoringOff`
    when no model serves and `LogUnavailable` when the decisions cannot be logged. Then nothing is
    stored.
    With an idempotency key, a body that its caller sent before is not decided again: what was
    committed then is returned.

    Parameters
    ----------
    max_explained : int
        Most rows of a request that asks for reasons.
    sample : bytes
        The file that the page offers to try: its decisions concern nobody.
    """

    def __init__(
        self,
        production: LiveModel,
        log: DecisionLog,
        metrics: Metrics,
        max_explained: int,
        sample: bytes = b"",
    ) -> None:
        self._sample = hashlib.sha256(sample).hexdigest() if sample else None
        self._production = production
        self._log = log
        self._metrics = metrics
        self._max_explained = max_explained

    def rows(
        self,
        body: bytes,
        rows: object,
        *,
        caller: Caller,
        key: str | None = None,
        extras: frozenset[str] = frozenset(),
        source: str | None = None,
    ) -> Scored:
        """Decide on a JSON list of applications, parsed from a body."""

        def digest() -> str:
            return hashlib.sha256(body).hexdigest()

        return self._decide(
            lambda validator: validator.rows(rows),
            source,
            digest,
            caller=caller,
            key=key,
            extras=extras,
        )

    def preview(self, row: object) -> Batch:
        """Return the model's prediction for an application, which is not recorded as a decision.

        Raises
        ------
        ScoringOff
        """
        serving = self._production.require()
        applications = serving.validator.rows([row])
        return _batch(serving, applications, kind="preview")

    def file(
        self,
        sent: UploadedFile,
        *,
        caller: Caller,
        key: str | None = None,
        extras: frozenset[str] = frozenset(),
    ) -> Scored:
        """Decide on a CSV, Excel or Parquet file of applications."""
        return self._decide(
            lambda validator: sent.parsed(validator.csv, _headers(validator)),
            sent.name,
            lambda: sent.sha256,
            caller=caller,
            key=key,
            extras=extras,
        )

    def result(
        self,
        sent: UploadedFile,
        *,
        caller: Caller,
        key: str | None = None,
        extras: frozenset[str] = frozenset(),
    ) -> tuple[Batch, IO[bytes]]:
        """Decide on a file, and return the result as CSV in a file that is gone once it is closed.

        It is written while the log takes the batch in, which the log completes only when the
        result is written.
        """
        try:
            result = tempfile.TemporaryFile()  # noqa: SIM115 - the sender closes it
        except OSError as error:
            raise _no_room(error) from None
        written: list[Batch] = []

        def write(scored: Scored) -> None:
            try:
                _result(scored, extras).write_csv(result)
                result.flush()
            except OSError as error:
                raise _no_room(error) from error
            written.append(scored.batch)

        with ThreadPoolExecutor(1) as thread:

            def begin(scored: Scored) -> Callable[[], object]:
                _ = scored.batch.table  # made once, for both
                return thread.submit(write, scored).result

            hashed = thread.submit(lambda: sent.sha256)  # beside validation
            scored = self._decide(
                lambda validator: sent.parsed(validator.csv, _headers(validator)),
                sent.name,
                hashed.result,
                caller=caller,
                key=key,
                extras=extras,
                begin=begin,
            )

        if not any(scored.batch is batch for batch in written):
            # It was committed before, under this key.
            result.seek(0)
            result.truncate()
            write(scored)
        return scored.batch, result

    def _decide(
        self,
        read: Callable[[Validator], Applications],
        source: str | None,
        digest: Callable[[], str],
        *,
        caller: Caller,
        key: str | None,
        extras: frozenset[str] = frozenset(),
        begin: Callable[[Scored], Callable[[], object]] | None = None,
    ) -> Scored:
        """Validate, decide and commit.

        What `begin` starts has to succeed before the commit's mark is written.
        """
        serving = self._production.require()
        with self._metrics.scoring_seconds.time():
            applications = read(serving.validator)
            self._refuse_too_many(len(applications), extras)
            sha256 = digest()
            sample = sha256 == self._sample
            if sample:
                applications.warnings.append(PREVIEW)

            batch = _batch(
                serving,
                applications,
                source=source,
                sha256=sha256,
                kind="preview" if sample else "decision",
                idempotency_key=key,
                caller=str(caller),
                branch=caller.branch,
            )
            scored = Scored(batch, serving.scorer, self._production.labels)

            try:
                if begin is None:
                    self._log.commit(batch)
                else:
                    self._log.commit(batch, begin(scored))
            except AlreadyCommitted as error:
                return self._again(batch, error.record, serving, read)
        return scored

    def _refuse_too_many(self, n: int, extras: frozenset[str]) -> None:
        for extra, most, what in (
            (REASONS, self._max_explained, "Reasons are given"),
            (CHANGES, min(MAX_CHANGED, self._max_explained), "What would change it is given"),
        ):
            if extra in extras and n > most:
                raise TooManyToExplain(f"{what} for at most {most:,} clients at a time.")

    def _again(
        self,
        batch: Batch,
        record: BatchRecord,
        serving: Serving,
        read: Callable[[Validator], Applications],
    ) -> Scored:
        """Return what was committed under a key, for a body that came again.

        It may have been decided by an earlier version.
        """
        if record.sha256 != batch.sha256:
            raise KeyReused(record)

        scorer = serving.scorer
        if record.digest != serving.digest:
            try:
                scorer = self._production.scorer(record.model_version, record.digest)
            except (RegistryUnavailable, NoSuchVersion, ModelRefused) as error:
                raise DecidedBefore(record, f"by a version that is unavailable ({error})") from None
            # That version may have known other categories.
            batch = replace(batch, applications=read(Validator(scorer.dataset, scorer.domain)))

        table = self._log.read(record)
        # The rules for a row may have changed with our code.
        if table.num_rows != len(batch.applications):
            raise DecidedBefore(record, "when other rows of it were valid")

        decided = Decisions(
            table["risk"].to_numpy(),
            np.array([word == RED for word in table["prediction"].to_pylist()], dtype=bool),
            table["confidence"].to_numpy(),
        )
        batch = replace(
            batch,
            id=record.id,
            time=record.time,
            decided=decided,
            model_version=record.model_version,
            digest=record.digest,
            threshold=record.threshold,
            base_rate=record.base_rate,
        )
        return Scored(batch, scorer, self._production.labels)


def _headers(validator: Validator) -> dict[str, str]:
    """Return the names that columns of an application may have."""
    return {name: meant for name, meant in validator.dataset.headers.items() if meant != LABEL}


def _batch(serving: Serving, applications: Applications, **more: Any) -> Batch:
    scorer = serving.scorer
    return Batch(
        applications=applications,
        decided=scorer.decide(applications.codes),
        model_version=serving.version,
        digest=serving.digest,
        threshold=scorer.threshold,
        base_rate=scorer.prior,
        **more,
    )


def _result(scored: Scored, extras: frozenset[str]) -> Result:
    """Return what a client gets of a scored file, with reasons where they were asked for."""
    batch, scorer, labels = scored
    reasons = None
    if REASONS in extras:
        try:
            reasons = scorer.sentences(batch.applications.codes, labels)
        except NotExplainable as error:
            reasons = pa.repeat(f"unavailable: {error}", len(batch.applications))
    return Result.of(batch, reasons)


def _no_room(error: OSError) -> NoRoom:
    return NoRoom(f"The result cannot be written ({error.strerror}).")
