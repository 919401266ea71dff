"""German Credit, the data set of most tests: its definition, and functions for it alone."""

from functools import partial

from credit_risk.decision_log import batch, log, outcomes
from credit_risk.schema import codec, json_schema, validation
from credit_risk.schema.dataset import Dataset
from credit_risk.schema.dataset_file import load_dataset
from credit_risk.scoring import reason_codes, trees
from credit_risk.training_data import data, snapshots

GERMAN_CREDIT = load_dataset("german_credit")
# Of a loan that defaults 60 % is lost, and one that is repaid earns 10 %.
BY_AMOUNT = Dataset.model_validate(
    GERMAN_CREDIT.model_dump(exclude_defaults=True)
    | {"costs": {"bad": 0.6, "good": 0.1, "by": "amount"}}
)
ATTRIBUTES = GERMAN_CREDIT.attributes
ATTRIBUTE = GERMAN_CREDIT.by_name
NAMES = GERMAN_CREDIT.names
SCORED = GERMAN_CREDIT.scored
PROTECTED = GERMAN_CREDIT.protected
SCORED_COLUMNS = GERMAN_CREDIT.scored_columns
COLUMNS = GERMAN_CREDIT.columns
LEVERS = tuple(lever.attribute for lever in GERMAN_CREDIT.levers)
TEXTS = reason_codes.reason_texts(GERMAN_CREDIT)
MONOTONE = {
    name: direction
    for name, direction in zip(SCORED, trees.directions(GERMAN_CREDIT), strict=True)
    if direction
}
DECISION_SCHEMA = batch.decision_schema(GERMAN_CREDIT)
OUTCOME_SCHEMA = outcomes.outcome_schema(GERMAN_CREDIT)

MEANINGS = {
    a.name: {v: a.meaning(v) or v for v in a.categories or map(str, a.classes)}
    for a in ATTRIBUTES
    if a.has_meanings
}

encode = partial(codec.encode, dataset=GERMAN_CREDIT)
decode = partial(codec.decode, dataset=GERMAN_CREDIT)
codes_of = partial(codec.codes_of, dataset=GERMAN_CREDIT)
application_schema = partial(json_schema.json_schema, GERMAN_CREDIT)
Validator = partial(validation.Validator, GERMAN_CREDIT)
DecisionLog = partial(log.DecisionLog, dataset=GERMAN_CREDIT)
read_training = partial(data.read_training, dataset=GERMAN_CREDIT)
parse_training = partial(data.parse_training, dataset=GERMAN_CREDIT)
split = partial(data.split, dataset=GERMAN_CREDIT)
client_numbers = partial(data.client_numbers, dataset=GERMAN_CREDIT)
n_repeated = partial(data.n_repeated, dataset=GERMAN_CREDIT)
data_hash = partial(data.data_hash, dataset=GERMAN_CREDIT)
read_snapshot = partial(snapshots.read, dataset=GERMAN_CREDIT)


def meaning(attribute: str, value: str) -> str:
    """Return what a recorded value means."""
    return ATTRIBUTE[attribute].meaning(value)
