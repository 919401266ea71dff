"""Reading a stored scorer, which may be anybody's file, into one that may decide.

A scorer is stored by skops, as a zip of JSON. Skops itself would build any scikit-learn estimator
that the file names, whatever is in it. This module builds nothing but plain values, and checks each
before the scorer gets it.
"""

import io
import json
import string
import zipfile
import zlib
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import numpy as np
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from credit_risk.schema.attributes import BAD, GOOD, Attribute
from credit_risk.schema.dataset import Dataset
from credit_risk.schema.dataset_file import load_dataset
from credit_risk.scoring.model import CreditScorer
from credit_risk.scoring.reason_codes import reason_texts
from credit_risk.scoring.trees import MAX_TREES

MODEL_FILE = "model.skops"
# Limit of the file and of what it unpacks to; 1,250 trees take 1.4 MB.
MAX_BYTES = 5_000_000
_SCHEMA = "schema.json"
_MAX_ENTRIES = 100
_MAX_DEPTH = 10
# What a scorer's node may hold. The module is where the class is defined, or was defined when older
# versions were registered.
_SCORER = {
    "__class__": ("CreditScorer",),
    "__module__": (CreditScorer.__module__, "credit_risk.model"),
    "__loader__": ("ObjectNode",),
}


class ModelRefused(ValueError):
    """What is stored of a version is not taken; the message says why."""


def read(data: bytes) -> CreditScorer:
    """Return the scorer that a file holds.

    Parameters
    ----------
    data : bytes
        The file, as skops writes it, of at most 5 MB.

    Raises
    ------
    ModelRefused
        When the file is not a scorer of ours, or anything in it is out of its bounds.
    """
    try:
        state = _State.model_validate(_values(data))
        scorer = _scorer(state)
        _ = scorer.trees  # parses and checks them
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ModelRefused(f"its {where[:60]!r} is wrong: {first['msg'][:200]}") from None
    except (ValueError, RecursionError, zipfile.BadZipFile, zlib.error, *_ODD_ZIP) as error:
        why = str(error)[:200] or type(error).__name__
        raise ModelRefused(f"it is not one of our scorers: {why}") from None

    return scorer


def _load_pyfunc(folder: str) -> CreditScorer:
    """Return a downloaded model's scorer. MLflow's `pyfunc.load_model` calls this by its name."""
    return read((Path(folder) / MODEL_FILE).read_bytes())


# What zipfile raises for zips that are cut off, encrypted, or compressed in an unknown way.
_ODD_ZIP = (EOFError, RuntimeError, NotImplementedError, OSError)

_Text = Annotated[str, StringConstraints(max_length=200)]
# Of a definition's label and unit, with their braces doubled.
_Sentence = Annotated[str, StringConstraints(max_length=1000)]
_Name = Annotated[str, StringConstraints(max_length=64)]
_Finite = Annotated[float, Field(ge=-1e6, le=1e6)]
_Amount = Annotated[float, Field(ge=-1e15, le=1e15)]
_Share = Annotated[float, Field(ge=0, le=1)]
_Rounds = Annotated[int, Field(ge=1, le=MAX_TREES)]
_Seed = Annotated[int, Field(ge=0, lt=2**31)]
_Cost = Annotated[float, Field(gt=0, le=1e9)]
# Parameters that a recipe may set. The gate grows the trees again, and some parameters of LightGBM
# open files.
_Growth = Literal[
    "num_leaves",
    "learning_rate",
    "feature_fraction",
    "feature_fraction_bynode",
    "bagging_fraction",
    "bagging_freq",
    "lambda_l1",
    "lambda_l2",
    "max_depth",
    "min_data_in_leaf",
    "min_sum_hessian_in_leaf",
    "min_gain_to_split",
    "path_smooth",
    "extra_trees",
    "monotone",
]
# A whole number stays an int: LightGBM does not accept 8.0 leaves.
_Params = dict[_Growth, bool | Annotated[int, Field(ge=-1_000_000, le=1_000_000)] | _Finite] | None


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class _Member(_Strict):
    params: _Params = None
    num_boost_round: _Rounds = 1
    seed: _Seed = 0


class _Domain(_Strict):
    ranges: dict[_Name, Annotated[list[int | float], Field(min_length=2, max_length=2)]]
    categories: dict[_Name, list[_Text]]
    missing: list[_Name] = []


class _Accepted(_Strict):
    share: _Share
    contributions: list[_Finite]
    facts: dict[_Name, _Amount | dict[_Text, Annotated[float, Field(ge=0, le=1e6)]]]


class _State(_Strict):
    """The attributes of a `CreditScorer`, except `classes_`, which is always the same.

    The definition comes first: the others are checked by it. Versions from before there were
    definitions have none.
    """

    definition_: Dataset | None = None
    definition: None = None
    params: _Params = None
    num_boost_round: _Rounds
    cost_bad: _Cost
    cost_good: _Cost
    seed: _Seed
    members: Annotated[list[_Member], Field(min_length=1, max_length=100)] | None = None
    base_rate: Annotated[float, Field(gt=0, lt=1)] | None = None
    model_text_: Annotated[str, StringConstraints(max_length=MAX_BYTES)]
    domain_: _Domain
    bad_share_: Annotated[float, Field(gt=0, lt=1)]
    n_features_in_: int
    texts_: dict[_Name, _Sentence]
    ranks_: dict[_Name, list[_Finite]] = {}
    accepted_: _Accepted | None

    @field_validator("definition_", mode="before")
    @classmethod
    def _defined(cls, text: object) -> object:
        return Dataset.model_validate_json(text) if isinstance(text, str) else text

    @field_validator("domain_")
    @classmethod
    def _known(cls, domain: _Domain, info: ValidationInfo) -> _Domain:
        dataset = _dataset(info)
        for attribute in dataset.attributes:
            if not _within(attribute, domain):
                raise ValueError(f"that of {attribute.name} is not within the schema's")

        if not {*domain.ranges, *domain.categories, *domain.missing} <= set(dataset.names):
            raise ValueError("there are other attributes than the schema's")

        return domain

    @field_validator("n_features_in_")
    @classmethod
    def _all(cls, n: int, info: ValidationInfo) -> int:
        if n != len(_dataset(info).names):
            raise ValueError("it is not the number of attributes")
        return n

    @field_validator("ranks_")
    @classmethod
    def _ranking(
        cls, ranks: dict[str, list[float]], info: ValidationInfo
    ) -> dict[str, list[float]]:
        ranked = {a.name: a for a in _dataset(info).scored_attributes if a.order == "bad rate"}
        sizes = {name: len(a.categories) for name, a in ranked.items() if a.categories}
        if {name: len(one) for name, one in ranks.items()} != sizes or any(
            sorted(one) != list(range(len(one))) for one in ranks.values()
        ):
            raise ValueError("they do not rank the values of each attribute that has none")
        return ranks

    @field_validator("accepted_")
    @classmethod
    def _of_each(cls, accepted: _Accepted | None, info: ValidationInfo) -> _Accepted | None:
        if accepted is None:
            return None
        scored, facts = _dataset(info).scored_attributes, accepted.facts
        if len(accepted.contributions) != len(scored):
            raise ValueError("there is not one contribution of each scored attribute")
        if set(facts) != {a.name for a in scored} or any(
            isinstance(facts[a.name], float) != a.is_quantity for a in scored
        ):
            raise ValueError("the facts are not those of the scored attributes")
        return accepted

    @field_validator("texts_")
    @classmethod
    def _words(cls, texts: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        if not set(reason_texts(_dataset(info))) <= set(texts):
            raise ValueError("some are missing")

        for text in texts.values():
            fields = [field[1:] for field in string.Formatter().parse(text) if field[1] is not None]
            if any(field != ("value", "", None) for field in fields) or not text.isprintable():
                raise ValueError("they hold more than a place for the value")

        return texts


def _dataset(info: ValidationInfo) -> Dataset:
    return info.data.get("definition_") or load_dataset()


def _within(attribute: Attribute, domain: _Domain) -> bool:
    """Return whether what was seen of an attribute is within what it may be."""
    name = attribute.name
    if attribute.categories:
        seen = domain.categories.get(name)
        known = set(seen or ()) <= set(attribute.categories)
        return known and (seen is not None or attribute.may_be_absent)

    if name not in domain.ranges:
        return attribute.may_be_absent
    low, high = domain.ranges[name]
    return attribute.minimum <= low <= high <= attribute.maximum


def _scorer(state: _State) -> CreditScorer:
    scorer = CreditScorer()
    for name, value in state.model_dump(exclude_unset=True, exclude={"definition_"}).items():
        setattr(scorer, name, value)
    if state.definition_ is not None:
        scorer.definition_ = state.definition_.text

    n_trees = sum(rounds for _, rounds, _ in scorer.recipes())
    if n_trees > MAX_TREES:
        raise ValueError(f"its recipe is for more than {MAX_TREES} trees")

    scorer.classes_ = np.array([BAD, GOOD])
    return scorer


def _values(data: bytes) -> dict[str, Any]:
    """Return the plain values of a scorer's attributes."""
    if len(data) > MAX_BYTES:
        raise ValueError(f"the file has {len(data):,} bytes, more than {MAX_BYTES:,}")

    with zipfile.ZipFile(io.BytesIO(data)) as file:
        names = file.namelist()
        if len(names) > _MAX_ENTRIES or names.count(_SCHEMA) != 1:
            raise ValueError("the file is not as skops writes it")

        # Zipfile unpacks no more than the size that the file states, and that size is limited.
        if file.getinfo(_SCHEMA).file_size > MAX_BYTES:
            raise ValueError(f"it unpacks to more than {MAX_BYTES:,} bytes")
        schema = json.loads(file.read(_SCHEMA), parse_constant=_refuse)

    is_scorer = isinstance(schema, dict) and all(
        schema.get(name) in allowed for name, allowed in _SCORER.items()
    )
    if not is_scorer:
        raise ValueError("the file holds another object")

    content = schema.get("content")
    if not isinstance(content, dict) or not isinstance(content.get("content"), dict):
        raise ValueError("the file is not as skops writes it")

    return {
        name: _value(node, 1) for name, node in content["content"].items() if name != "classes_"
    }


def _value(node: Any, depth: int) -> Any:
    """Return the plain value of a node: a number, a text, or a list or dictionary of values."""
    if not isinstance(node, dict) or depth > _MAX_DEPTH:
        raise ValueError("the file is not as skops writes it")

    loader, content = node.get("__loader__"), node.get("content")
    if loader == "JsonNode" and isinstance(content, str):
        value = json.loads(content, parse_constant=_refuse)
        if value is None or isinstance(value, str | int | float):
            return value
    elif loader == "ListNode" and isinstance(content, list):
        return [_value(one, depth + 1) for one in content]
    elif loader == "DictNode" and isinstance(content, dict):
        return {name: _value(one, depth + 1) for name, one in content.items()}

    raise ValueError("it holds more than plain values")


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is not a number")
