"""Snapshots of training data: base data and accepted clients whose outcomes have matured.

A snapshot never changes. It is a CSV in the bucket, named by the SHA-256 of its content, with a
manifest beside it. An event in the decision log makes it the current one. When two are made at the
same time, the one that saw more of the log becomes current.

Each row states which part it is in. Base rows stay in the part that `data.split` gives them, and a
client with the same inputs as a base row is in the same part. For the others, a hash of their
inputs decides. So a client who is in the test part once always stays there, and nobody is in both.
"""

import hashlib
import io
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from credit_risk.decision_log.chains.numbered import Conflict, attempts
from credit_risk.decision_log.log import DecisionLog
from credit_risk.decision_log.outcome_file import DEFAULTED
from credit_risk.schema.attributes import BAD, GOOD, LABEL, Attribute
from credit_risk.schema.dataset import Dataset
from credit_risk.schema.faults import InvalidApplications
from credit_risk.storage.blobs import BlobMissing, Blobs
from credit_risk.training_data.data import TEST_SHARE, data_hash, parse_training, split
from credit_risk.training_data.outcome_maturation import Matured, Report, matured

SNAPSHOT = "training-data"
SNAPSHOT_TAG = "snapshot"
LATEST = "latest"
NONE = "none"
TRAIN = "train"
TEST = "test"
ID = "decision_id"
PART = "part"


class NoSuchSnapshot(LookupError):
    """There is no such snapshot, or it is not what was written; the message says which."""


@dataclass(frozen=True)
class Snapshot:
    """A snapshot's manifest.

    Attributes
    ----------
    sha256, name : str
        The hash of its CSV, and the CSV's name in the bucket.
    base, base_sha256 : str
        Where the base data came from, and their `data_hash`.
    n_base, n_funded, n_funded_bad, n_funded_test : int
        Number of rows of the base data; of accepted clients; of those who defaulted; of those in
        the test part.
    months : int
        After how many months outcomes counted.
    cursor : int
        Number of the last event of the decision log that was seen.
    time : str
        When it was made, in UTC.
    """

    sha256: str
    name: str
    base: str
    base_sha256: str
    n_base: int
    n_funded: int
    n_funded_bad: int
    n_funded_test: int
    months: int
    cursor: int
    time: str

    @property
    def summary(self) -> str:
        """The snapshot on one line."""
        return (
            f"{self.name}: {self.n_base:,} clients of the base data "
            f"and {self.n_funded:,} accepted ones "
            f"({self.n_funded_bad:,} defaulted, {self.n_funded_test:,} for the test)"
        )

    @property
    def tags(self) -> dict[str, str]:
        """The tags of a run that was trained on it, and of the version that the run made."""
        names = ("base", "n_base", "n_funded", "n_funded_bad", "n_funded_test")
        fields = {name: str(getattr(self, name)) for name in names}

        return {
            SNAPSHOT_TAG: self.sha256,
            "data_hash": self.sha256,
            "base_hash": self.base_sha256,
            **fields,
        }


def make(
    log: DecisionLog,
    blobs: Blobs,
    base: pd.DataFrame,
    source: str,
    months: int,
    report: Report = lambda _: None,
) -> tuple[Snapshot | None, bool]:
    """Write a snapshot, unless the current one has the same content or no client can be added.

    Parameters
    ----------
    base : DataFrame
        The base data, as `read_training` returns them.
    source : str
        Where the base data came from.
    months : int
        See `matured`.
    report : callable, optional
        Progress callback, called with a line of text.

    Returns
    -------
    tuple of (Snapshot or None, bool)
        The current snapshot, if there is one, and whether it is new.

    Raises
    ------
    LogUnavailable
        When the decision log is. Errors of the bucket are passed on unchanged. A snapshot that was
        written by then is not current, and the next call writes it again.
    """
    cursor, before = log.last_event(), latest_snapshot(log)
    found = matured(log, months, report=report)

    for cohort in found.cohorts:
        if not cohort.taken:
            report(cohort.summary)

    rows, left_out = _allowed(found.rows.to_pandas(), log.dataset, report)
    if not len(rows) and before is None:
        return None, False

    clients = _joined(base, rows, log.dataset)
    data = clients.to_csv(index=False, lineterminator="\n").encode()
    base_sha256 = data_hash(base, log.dataset)
    snapshot = _manifest(data, clients, source, base_sha256, months, cursor)
    if before and before.sha256 == snapshot.sha256 and _is_intact(blobs, before):
        return before, False

    _write(blobs, snapshot, data, found, left_out)
    for _ in attempts():
        newest, last = log.last_event(), latest_snapshot(log)
        if last and last != before and last.cursor >= cursor:
            report("somebody else made a newer one meanwhile, which stands")
            return last, False
        with suppress(Conflict):
            log.append_event(SNAPSHOT, snapshot.sha256, newest, manifest=asdict(snapshot))
            return snapshot, True
    raise AssertionError("the attempts end with an error")


def latest_snapshot(log: DecisionLog) -> Snapshot | None:
    """Return the snapshot that was made last, or None."""
    made = log.events(SNAPSHOT)
    return Snapshot(**made[-1]["manifest"]) if made else None


def pick(log: DecisionLog, which: str, base_sha256: str) -> Snapshot | None:
    """Return the snapshot that the setting `TRAINING_SNAPSHOT` means, or None.

    Parameters
    ----------
    which : str
        `latest`, `none`, or the first characters of a snapshot's hash.
    base_sha256 : str
        The `data_hash` of the base data. `latest` means no snapshot if the latest one was made from
        other base data.

    Raises
    ------
    NoSuchSnapshot
        When no snapshot's hash begins with these characters.
    """
    if which == NONE:
        return None
    if which == LATEST:
        last = latest_snapshot(log)
        return last if last and last.base_sha256 == base_sha256 else None

    found = [event for event in log.events(SNAPSHOT) if event["key"].startswith(which)]
    if not found:
        raise NoSuchSnapshot(
            f"TRAINING_SNAPSHOT={which}: there is no snapshot whose hash begins so"
        )

    return Snapshot(**found[-1]["manifest"])


def read(blobs: Blobs, snapshot: Snapshot, dataset: Dataset) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return (train, test) of a snapshot, the attributes and `class`.

    Raises
    ------
    NoSuchSnapshot
        When it is gone, or no longer what was written.
    InvalidApplications
        When it has clients whose values the data set does not allow any more.
    """
    data = _data(blobs, snapshot.sha256)
    clients = parse_training(data, snapshot.name, _as_written(dataset))
    test = _column(data, PART) == TEST

    return clients[~test], clients[test]


def fits(blobs: Blobs, snapshot: Snapshot, dataset: Dataset) -> bool:
    """Return whether a snapshot's clients have values that the data set allows.

    Raises
    ------
    NoSuchSnapshot
        See `read`.
    """
    try:
        read(blobs, snapshot, dataset)
    except InvalidApplications:
        return False

    return True


def decision_ids(blobs: Blobs, sha256: str) -> set[str]:
    """Return the ids of the decisions on a snapshot's accepted clients; raises what `read` does."""
    return set(_column(_data(blobs, sha256), ID)) - {""}


def _as_written(dataset: Dataset) -> Dataset:
    """Return the data set with the decimal mark that snapshots have, unlike some files."""
    words = dataset.model_dump()
    for attribute in words["attributes"]:
        attribute["decimal_mark"] = "."
    return Dataset.model_validate(words)


def _data(blobs: Blobs, sha256: str) -> bytes:
    try:
        data = blobs.get(_name(sha256))
    except BlobMissing:
        raise NoSuchSnapshot(
            f"{_name(sha256)} is not in the bucket; make training-data writes it again"
        ) from None

    if hashlib.sha256(data).hexdigest() != sha256:
        raise NoSuchSnapshot(
            f"{_name(sha256)} has been changed: its hash is not the one in its name"
        )

    return data


def _column(data: bytes, name: str) -> "pd.Series[str]":
    return pd.read_csv(io.BytesIO(data), usecols=[name], dtype=str, keep_default_na=False)[name]


def _name(sha256: str) -> str:
    return f"{SNAPSHOT}/{sha256}.csv"


def _joined(base: pd.DataFrame, rows: pd.DataFrame, dataset: Dataset) -> pd.DataFrame:
    """Return base data and accepted clients, each with its decision, if any, and its part."""
    labels = [BAD if outcome == DEFAULTED else GOOD for outcome in rows["outcome"]]
    funded = _with_nullable_numbers(rows[list(dataset.names)], dataset)
    funded[LABEL], funded[ID] = labels, rows["id"]

    whole = pd.concat(
        [_with_nullable_numbers(base, dataset).assign(**{ID: ""}), funded], ignore_index=True
    )
    whole[PART] = _parts(base, whole, dataset)
    return whole[[*dataset.names, LABEL, ID, PART]]


def _allowed(
    rows: pd.DataFrame, dataset: Dataset, report: Report
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Return the rows without those of an earlier definition that today's would not take.

    They lack a value, or have one that is not allowed any more. With them comes how many were left
    out for each attribute.
    """
    left_out: dict[str, int] = {}
    keep = np.ones(len(rows), bool)
    for attribute in dataset.attributes:
        wrong = _is_wrong(rows[attribute.name], attribute)
        keep &= ~wrong
        if n := int(wrong.sum()):
            left_out[attribute.name] = n

    if left_out:
        listed = ", ".join(f"{name} ({n:,})" for name, n in left_out.items())
        report(
            f"{(~keep).sum():,} clients left out, of an earlier definition: "
            f"they have no value of these, or one that is not allowed today: {listed}"
        )
    return rows[keep], left_out


def _is_wrong(column: "pd.Series[Any]", attribute: Attribute) -> NDArray[np.bool_]:
    """Return which values an application may not have, each distinct one looked at once."""
    positions, distinct = pd.factorize(column, use_na_sentinel=False)
    wrong = [bool(attribute.look(value)[1]) for value in distinct.tolist()]
    return np.array(wrong, bool)[positions]


def _with_nullable_numbers(clients: pd.DataFrame, dataset: Dataset) -> pd.DataFrame:
    """Return clients whose numbers are written the same whether or not some are missing."""
    numbers = [a for a in dataset.attributes if not a.categories]
    return clients.astype({a.name: "Float64" if a.decimals else "Int64" for a in numbers})


def _parts(base: pd.DataFrame, whole: pd.DataFrame, dataset: Dataset) -> list[str]:
    """Return the part of each row; the base rows come first."""
    keys = _keys(whole, dataset)
    _, test = split(base, dataset)
    base_parts = [TEST if in_test else TRAIN for in_test in base.index.isin(test.index)]

    known = dict(zip(keys, base_parts, strict=False))
    funded_parts = [known.get(key) or _drawn(key) for key in keys[len(base) :]]

    return base_parts + funded_parts


def _keys(clients: pd.DataFrame, dataset: Dataset) -> list[str]:
    """Return a hash of each row's inputs."""
    inputs = clients[list(dataset.names)]
    lines = inputs.to_csv(index=False, header=False, lineterminator="\n").splitlines()
    return [hashlib.sha256(line.encode()).hexdigest() for line in lines]


def _drawn(key: str) -> str:
    """Return the part that the hash of a client's inputs decides on."""
    return TEST if int(key[:8], 16) < TEST_SHARE * 16**8 else TRAIN


def _manifest(
    data: bytes,
    clients: pd.DataFrame,
    source: str,
    base_sha256: str,
    months: int,
    cursor: int,
) -> Snapshot:
    sha256 = hashlib.sha256(data).hexdigest()
    funded = clients[clients[ID] != ""]

    return Snapshot(
        sha256=sha256,
        name=_name(sha256),
        base=source,
        base_sha256=base_sha256,
        n_base=len(clients) - len(funded),
        n_funded=len(funded),
        n_funded_bad=int((funded[LABEL] == BAD).sum()),
        n_funded_test=int((funded[PART] == TEST).sum()),
        months=months,
        cursor=cursor,
        time=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _write(
    blobs: Blobs, snapshot: Snapshot, data: bytes, found: Matured, left_out: Mapping[str, int]
) -> None:
    # A file that is there already has the same content, by its name, unless somebody changed it.
    blobs.put(snapshot.name, data, "text/csv", overwrite=True)

    cohorts = [asdict(cohort) for cohort in found.cohorts]
    manifest: dict[str, Any] = {**asdict(snapshot), "cohorts": cohorts, "left_out": left_out}
    text = json.dumps(manifest, indent=2) + "\n"
    name = snapshot.name.replace(".csv", ".json")
    blobs.put(name, text.encode(), "application/json", overwrite=True)


def _is_intact(blobs: Blobs, snapshot: Snapshot) -> bool:
    try:
        _data(blobs, snapshot.sha256)
    except NoSuchSnapshot:
        return False

    return True
