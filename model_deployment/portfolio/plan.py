"""The plan of a run: what is scored, by which version, in which parts; written before all else.

A run that was killed is started again with the same command: it finds its plan in the output, and
goes on by it.
"""

import json
import posixpath
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from ulid import ULID

from credit_risk.access.caller import at_console
from credit_risk.decision_log.batch import key_of_part
from credit_risk.decision_log.log import DecisionLog, open_log
from credit_risk.registry.approval_log import Approval
from credit_risk.registry.in_force import approved, in_force
from credit_risk.registry.registry import Registry, open_registry
from credit_risk.schema.attributes import LABEL
from credit_risk.schema.dataset import Dataset
from credit_risk.schema.faults import MalformedFile
from credit_risk.schema.validation import column_faults
from credit_risk.settings import Settings
from credit_risk.storage.backends import open_blobs
from credit_risk.storage.blobs import BlobExists, BlobMissing, Blobs
from model_deployment.portfolio.errors import NotScored
from model_deployment.portfolio.source import File, Part, Source

PLAN = "plan.json"
# What pyarrow and pandas make of a row group.
PART_ROWS = 1 << 20
# Columns of the output that are ours.
SCORES = ("risk", "prediction", "confidence", "warnings")
OURS = (*SCORES, "reasons", "model_version", "decision_id")


@dataclass(frozen=True)
class Order:
    """What a person asks for.

    Attributes
    ----------
    input, output : str
        Addresses: a path, or `gs://BUCKET/PATH`.
    kind : str
        `portfolio`, or `decision` for new applications.
    id_column : str
        The only column of the input that the output has; all of them when it is empty.
    reasons : bool
        Whether the output has the reasons for each score.
    part_rows : int
        Rows of a part, about.
    """

    input: str
    output: str
    kind: Literal["portfolio", "decision"] = "portfolio"
    id_column: str = ""
    reasons: bool = False
    part_rows: int = PART_ROWS


@dataclass(frozen=True)
class Run:
    """A run: an order, and the version that scores it to its end.

    Attributes
    ----------
    id : str
    order : Order
        With absolute addresses, as workers elsewhere need them.
    version, digest : str
    caller : str
        Who began it.
    time : datetime
        When.
    """

    id: str
    order: Order
    version: str
    digest: str
    caller: str
    time: datetime

    def key(self, part: Part) -> str:
        """Return the idempotency key of a part."""
        return key_of_part(self.id, part.name)


@dataclass(frozen=True)
class Plan:
    """A run, the files of its input as they were, and its parts."""

    run: Run
    files: Sequence[File]
    parts: Sequence[Part]

    def as_json(self) -> bytes:
        """Return the plan as it is stored."""
        run = asdict(self.run) | {"time": self.run.time.isoformat()}
        files = [file._asdict() for file in self.files]
        parts = [asdict(part) for part in self.parts]
        return json.dumps({"run": run, "files": files, "parts": parts}, indent=1).encode()

    @classmethod
    def of_json(cls, text: bytes) -> "Plan":
        """Return a stored plan."""
        stored = json.loads(text)
        run: dict[str, Any] = stored["run"]
        run["order"] = Order(**run["order"])
        run["time"] = datetime.fromisoformat(run["time"])
        files = [File(**file) for file in stored["files"]]
        return cls(Run(**run), files, [Part(**part) for part in stored["parts"]])


def planned(order: Order, settings: Settings) -> tuple[Plan, bool]:
    """Return the plan of an order, and whether it was there already.

    Raises
    ------
    NotScored
        When there is nothing to score or no version to score it, or the plan that is there is of
        another order or of files that have changed.
    LogUnavailable, RegistryUnavailable
    """
    if order.part_rows < 1:
        raise NotScored("a part has at least one row (PART_ROWS)")
    order = _absolute(order)
    output = open_blobs(order.output)
    source = Source(order.input)
    if (plan := _stored(output)) is not None:
        _check(plan, order)
        return plan, True

    plan = _made(order, source, settings)
    try:
        output.put(PLAN, plan.as_json(), "application/json")
    except BlobExists:  # somebody gave the same order at the same time
        return planned(order, settings)
    return plan, False


def _absolute(order: Order) -> Order:
    """Return an order with addresses that are right in every folder.

    Raises
    ------
    NotScored
        When the output would be read as input.
    """
    fields = asdict(order)
    for name in ("input", "output"):
        if fields[name].startswith("gs://"):
            fields[name] = "gs:/" + posixpath.normpath(fields[name].removeprefix("gs:/"))
        else:
            fields[name] = str(Path(fields[name]).resolve())
    if f"{fields['output']}/".startswith(f"{fields['input']}/"):
        raise NotScored("OUTPUT is within INPUT, and would be read as input: choose another folder")
    return Order(**fields)


def _stored(output: Blobs) -> Plan | None:
    try:
        return Plan.of_json(output.get(PLAN))
    except BlobMissing:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise NotScored(f"{output.url(PLAN)} is not the plan of a run ({error})") from None


def _check(plan: Plan, order: Order) -> None:
    """Refuse an order that is not the one that the output was begun for."""
    begun = asdict(plan.run.order)
    differing = [name for name, value in asdict(order).items() if begun[name] != value]
    if differing:
        was = ", ".join(f"{name} {begun[name]!r}" for name in differing)
        raise NotScored(
            f"{order.output} was begun with {was}: give the same, or another folder as OUTPUT"
        )
    check_files(plan)


def check_files(plan: Plan) -> None:
    """Refuse to go on when the files of the input are not those of a plan.

    Raises
    ------
    NotScored
    """
    order = plan.run.order
    if Source(order.input).files() != list(plan.files):
        raise NotScored(
            f"the files of {order.input} are not those that {order.output} was begun with: "
            "put them back, or give another folder as OUTPUT"
        )


def _made(order: Order, source: Source, settings: Settings) -> Plan:
    registry = open_registry(settings)
    approval = _approval(registry, open_log(settings), settings.follow_alias)
    version, digest = approval.version, approval.digest
    scorer = registry.load(version, digest, keep=True)
    if order.reasons and scorer.acceptance is None:
        raise NotScored(f"version {version} gives no reasons: fitted without out-of-fold risks")

    now = datetime.now(UTC)
    files = source.files()
    parts: list[Part] = []
    for file in files:
        try:
            _check_columns(order, source.columns(file.name, scorer.dataset), scorer.dataset)
            parts += source.parts(file, order.part_rows)
        except (MalformedFile, NotScored) as error:
            raise NotScored(f"{file.name}: {error}") from None

    run = Run(str(ULID()), order, version, digest, str(at_console()), now)
    return Plan(run, files, parts)


def _approval(registry: Registry, log: DecisionLog, follow_alias: bool) -> Approval:
    """Return what says which version scores: the one that decides on applications too."""
    # Unless the alias is followed, MLflow need not answer.
    now = in_force(registry, log, follow_alias=True) if follow_alias else approved(registry, log)
    if now.approval is None or now.refused:
        nobody = "There is no Production model. A version must be approved first."
        raise NotScored(now.refused or now.alias_mismatch or nobody)
    return now.approval


def _check_columns(order: Order, columns: Sequence[str], dataset: Dataset) -> None:
    """Refuse a file before anything of the run is scored."""
    if faults := column_faults(columns, dataset):
        raise NotScored("; ".join(fault.message for fault in faults))

    id = order.id_column
    if not id:
        return
    if id in (*OURS, LABEL):
        raise NotScored(f"column {id!r} cannot be taken as id, for the output has one of its own")
    if columns.count(id) != 1:
        named = ", ".join(columns[:30])
        raise NotScored(f"there is no column {id!r}, or several, to take ids from; it has {named}")
