"""From a body to decisions in the log: validate, decide, commit, and only then answer."""

import hashlib
import tempfile
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from typing import IO, Any, NamedTuple

import numpy as np
import pyarrow as pa

from credit_risk.access.caller import Caller
from credit_risk.decision_log.batch import AlreadyCommitted, Batch, BatchRecord
from credit_risk.decision_log.log import DecisionLog
from credit_risk.registry.errors import NoSuchVersion, RegistryUnavailable
from credit_risk.schema.applications import Applications
from credit_risk.schema.attributes import RED, Labels
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
from model_deployment.scoring.submission import File, Rows, Submission

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
        return self._decide(Rows(body, rows, source), caller, key, extras)

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
        return self._decide(File(sent), caller, key, extras)

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
        serving, file = self._production.require(), File(sent)
        try:
            result = tempfile.TemporaryFile()  # noqa: SIM115 - the sender closes it
        except OSError as error:
            raise _no_room(error) from None

        with ThreadPoolExecutor(1) as thread, self._metrics.scoring_seconds.time():
            thread.submit(lambda: file.sha256)  # beside validation
            scored = self._scored(serving, file, caller, key, extras)
            _ = scored.batch.table  # made once, for both
            writing = thread.submit(_write, scored, extras, result)
            try:
                self._log.commit(scored.batch, writing.result)
            except AlreadyCommitted as error:
                wait([writing])
                scored = self._again(scored.batch, error.record, serving, file)
                _write(scored, extras, result)

        return scored.batch, result

    def _decide(
        self, sent: Submission, caller: Caller, key: str | None, extras: frozenset[str]
    ) -> Scored:
        """Validate, decide and commit."""
        serving = self._production.require()
        with self._metrics.scoring_seconds.time():
            scored = self._scored(serving, sent, caller, key, extras)
            try:
                self._log.commit(scored.batch)
            except AlreadyCommitted as error:
                return self._again(scored.batch, error.record, serving, sent)
        return scored

    def _scored(
        self,
        serving: Serving,
        sent: Submission,
        caller: Caller,
        key: str | None,
        extras: frozenset[str],
    ) -> Scored:
        """Validate and decide."""
        applications = sent.applications(serving.validator)
        self._refuse_too_many(len(applications), extras)
        sample = sent.sha256 == self._sample
        if sample:
            applications.warnings.append(PREVIEW)

        batch = _batch(
            serving,
            applications,
            source=sent.name,
            sha256=sent.sha256,
            kind="preview" if sample else "decision",
            idempotency_key=key,
            caller=str(caller),
            branch=caller.branch,
        )
        return Scored(batch, serving.scorer, self._production.labels)

    def _refuse_too_many(self, n: int, extras: frozenset[str]) -> None:
        for extra, most, what in (
            (REASONS, self._max_explained, "Reasons are given"),
            (CHANGES, min(MAX_CHANGED, self._max_explained), "What would change it is given"),
        ):
            if extra in extras and n > most:
                raise TooManyToExplain(f"{what} for at most {most:,} clients at a time.")

    def _again(
        self, batch: Batch, record: BatchRecord, serving: Serving, sent: Submission
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
            validator = Validator(scorer.dataset, scorer.domain)
            batch = replace(batch, applications=sent.applications(validator))

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


def _write(scored: Scored, extras: frozenset[str], target: IO[bytes]) -> None:
    """Write the result as CSV, in place of what the file holds."""
    try:
        target.seek(0)
        target.truncate()
        _result(scored, extras).write_csv(target)
        target.flush()
    except OSError as error:
        raise _no_room(error) from error


def _no_room(error: OSError) -> NoRoom:
    return NoRoom(f"The result cannot be written ({error.strerror}).")
