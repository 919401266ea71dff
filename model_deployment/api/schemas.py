"""The bodies of the API as models: they validate requests and describe answers.

Answers on many clients are built as plain dicts, for speed; the tests check them against these
models.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from credit_risk.decision_log.batch import Kind as BatchKind
from credit_risk.decision_log.outcome_file import WORDS
from credit_risk.decision_log.overrides import MAX_TEXT

Colour = Literal["green", "red"]
Outcome = Literal[WORDS]  # type: ignore[valid-type]
Probability = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
Day = Annotated[str, Field(json_schema_extra={"format": "date"})]
Caller = Annotated[
    str | None,
    Field(
        description="Who sent it: `user: NAME`, `key: NAME`, `command line: NAME`, or `open` where "
        "nobody has to say who they are; null: from before that was kept."
    ),
]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_TEXT)]


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid", protected_namespaces=())


class Numbers(_Answer):
    """Which numbers are allowed."""

    minimum: int | float
    maximum: int | float
    integer: bool


class Dates(_Answer):
    """Which dates are allowed."""

    format: Literal["date"]
    minimum: Day | None = None
    maximum: Day


class Fault(_Answer):
    """One thing wrong with one row."""

    row: Count | None = Field(description="Which data row, from 0; null: the whole file.")
    column: str | None
    value: str | int | float | bool | None = Field(
        description="What stands there; shortened where it is long."
    )
    message: str = Field(
        description="What is wrong, for people; names the line where there is a file."
    )
    allowed: list[str] | Numbers | Dates | None = Field(description="What would be right.")


class Kind(_Answer):
    """The faults of rows that have one reason in one column."""

    column: str | None
    reason: str = Field(description="A word for programs.")
    n: int = Field(ge=1, description="How many there are in all.")
    rows: list[Count] = Field(description="The first of them, at most five.")
    message: str = Field(description="The same for people; names lines where there is a file.")


class Reason(_Answer):
    """Why a client's risk is higher or lower than that of accepted clients."""

    attribute: str
    value: str
    effect: float = Field(description="Log-odds of default that it adds.")
    text: str = Field(description="A sentence for the client.")
    meaning: str = Field(
        description="What the value stands for, where its label says something else."
    )


class Reasons(_Answer):
    """The reasons for one decision, strongest first, at most four each."""

    raising: list[Reason]
    lowering: list[Reason]


class Change(_Answer):
    """The smallest change that turns a red client green."""

    text: str
    attributes: list[str]
    risk: Probability | None = Field(description="With the change; null when none was found.")


class Decision(_Answer):
    """The decision on one client."""

    id: str
    row: Count = Field(description="Which data row of the request, from 0.")
    client_id: str | None
    prediction: Colour
    risk: Probability = Field(description="Probability of default.")
    confidence: Probability = Field(
        description="How clear the decision is, given the costs: .5 at the threshold."
    )
    warnings: list[str]
    reasons: Reasons | None = Field(
        None, description="On request; null where the version cannot explain."
    )
    what_would_change_it: Change | None = Field(
        None, description="On request; null for a green client."
    )


_KINDS = Field(
    description="What is wrong, by kind, the most frequent first: none is hidden by many of "
    "another."
)


class _Head(_Answer):
    batch: str
    model_version: str
    n_decided: Count
    n_rejected: Count


class Decided(_Head):
    """The result of one request, as it is in the decision log."""

    decisions: list[Decision]
    kinds: list[Kind] = _KINDS
    rejected: list[Fault] = Field(
        description="One entry a fault, at most 1,000; `n_rejected` counts rows."
    )
    warnings: list[str]


class DecidedInBrief(_Head):
    """The same without the decisions, and with the rejected rows to mend and send again."""

    kinds: list[Kind] = _KINDS
    rejected: list[Fault]
    warnings: list[str]
    rejected_csv: str | None = Field(description="Separated as the file was.")
    rejected_xlsx: str | None = Field(description="Of a workbook: one, in base64.")


class Override(_Answer):
    """A person's decision in place of the model's."""

    prediction: Colour
    by: str
    reason: str
    time: Time
    caller: Caller


class OverrideRequest(BaseModel):
    """The other decision, in a person's name."""

    model_config = ConfigDict(strict=True)

    prediction: Colour
    by: Text = Field(
        description="Who decides; where the user has signed in, their own name counts."
    )
    reason: Text = Field(description="Why.")


class Overridden(Override):
    """An override as it was stored."""

    id: str = Field(description="Of the decision.")
    standing: Colour


class OutcomeEvent(_Answer):
    """An outcome of a client, as it was reported."""

    outcome: Outcome
    date: Day
    number: int = Field(
        description="Of the upload that reported it, in the order of the decision log's events."
    )
    caller: Caller


class LoggedDecision(BaseModel):
    """A decision with its inputs and what followed."""

    # The inputs, by their attributes: those of the definition (`openapi.document` names them), and
    # of earlier ones.
    model_config = ConfigDict(extra="allow", protected_namespaces=())

    id: str
    batch: str
    row: Count
    time: Time
    client_id: str | None
    label: Literal["good", "bad"] | None
    risk: Probability
    prediction: Colour = Field(description="What the model said.")
    confidence: Probability
    warnings: list[str]
    model_version: str
    source: str | None = Field(description="Name of the file it came in.")
    caller: Caller
    branch: str | None = Field(
        description="The branch of the user who sent it, where their token names one."
    )
    kind: BatchKind = Field(
        description="A decision on an application; a score in a `portfolio` of clients who have "
        "their loans; or a `preview`, which is not a decision."
    )
    threshold: Probability
    base_rate: Probability | None
    standing: Colour = Field(description="What holds after overrides.")
    overrides: list[Override]
    outcomes: list[OutcomeEvent] = Field(description="By date; the last one stands.")
    reasons: Reasons | None = Field(
        description="Null where the version that decided is unavailable."
    )
    what_would_change_it: Change | None


class Model(_Answer):
    """Which model serves."""

    version: str
    digest: str
    approved_by: str
    approved_at: Time | None
    alias_agrees: bool | None = Field(
        description="Whether the alias `production` in MLflow agrees with the approvals; null "
        "while MLflow is away."
    )
    notice: str | None = Field(
        description="Why another version, the alias's or the one approved last, does not decide; "
        "null where all agree."
    )


class OutcomesTaken(_Answer):
    """The result of one file of outcomes."""

    upload: str | None = Field(
        description="The id of what was added to the decision log; null when nothing was."
    )
    n_added: Count
    n_known: Count = Field(
        description="Rows that say what the log holds already; they add nothing."
    )
    n_open: Count = Field(
        description="Rows that have neither outcome nor date: of loans that are still open."
    )
    n_rejected: Count
    kinds: list[Kind] = _KINDS
    rejected: list[Fault] = Field(
        description="One entry a fault, at most 1,000; `n_rejected` counts rows."
    )
    warnings: list[str]


class Problem(BaseModel):
    """Every answer that is not a success (RFC 9457)."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(
        pattern=r"^urn:risk-o-meter:[a-z-]+$", description="A stable word for programs."
    )
    title: str = Field(description="What the status means.")
    status: int = Field(ge=400, le=599)
    detail: str = Field(min_length=1, description="What went wrong and what to do, for people.")


class NothingDecided(Problem):
    """No row could be decided on: a problem with the members of an answer."""

    batch: str | None = None
    model_version: str | None = None
    n_decided: Count | None = None
    n_rejected: Count | None = None
    decisions: list[Decision] | None = None
    kinds: list[Kind] | None = None
    rejected: list[Fault] | None = None
    rejected_csv: str | None = None
    rejected_xlsx: str | None = None
    warnings: list[str] | None = None


class NothingTaken(Problem):
    """No row of a file of outcomes could be taken."""

    upload: None = None
    n_added: Count
    n_known: Count
    n_open: Count
    n_rejected: Count
    kinds: list[Kind]
    rejected: list[Fault]
    warnings: list[str]
