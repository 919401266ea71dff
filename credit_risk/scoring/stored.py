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
    field_validator,
)

from credit_risk.schema.attributes import ATTRIBUTES, BAD, GOOD, NAMES, SCORED
from credit_risk.scoring.model import CreditScorer
from credit_risk.scoring.reason_codes import TEXTS
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
# Attributes whose texts compare an amount with that of most accepted clients.
_QUANTITIES = {name for name in SCORED if f"{name} more" in TEXTS}


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
_Name = Annotated[str, StringConstraints(max_length=64)]
_Finite = Annotated[float, Field(ge=-1e6, le=1e6)]
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
    ranges: dict[_Name, Annotated[list[int], Field(min_length=2, max_length=2)]]
    categories: dict[_Name, list[_Text]]


class _Accepted(_Strict):
    share: _Share
    contributions: Annotated[list[_Finite], Field(min_length=len(SCORED), max_length=len(SCORED))]
    facts: dict[_Name, _Finite | dict[_Text, Annotated[float, Field(ge=0, le=1e6)]]]

    @field_validator("facts")
    @classmethod
    def _of_each(cls, facts: dict[str, Any]) -> dict[str, Any]:
        wrong_names = set(facts) != set(SCORED)
        if wrong_names or any(isinstance(facts[n], float) != (n in _QUANTITIES) for n in SCORED):
            raise ValueError("they are not those of the scored attributes")

        return facts


class _State(_Strict):
    """The attributes of a `CreditScorer`, except `classes_`, which is always the same."""

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
    n_features_in_: Literal[20]
    texts_: dict[_Name, _Text]
    accepted_: _Accepted | None

    @field_validator("domain_")
    @classmethod
    def _known(cls, domain: _Domain) -> _Domain:
        for attribute in ATTRIBUTES:
            name = attribute.name
            if attribute.kind == "number":
                given = name in domain.ranges
                low, high = domain.ranges.get(name, (attribute.minimum, attribute.minimum))
                known = attribute.minimum <= low <= high <= (attribute.maximum or high)
            else:
                given = name in domain.categories
                known = set(domain.categories.get(name, ())) <= set(attribute.categories)

            if not known or not (given or attribute.protected):
                raise ValueError(f"that of {name} is not within the schema's")

        if not {*domain.ranges, *domain.categories} <= set(NAMES):
            raise ValueError("there are other attributes than the schema's")

        return domain

    @field_validator("texts_")
    @classmethod
    def _words(cls, texts: dict[str, str]) -> dict[str, str]:
        if not set(TEXTS) <= set(texts):
            raise ValueError("some are missing")

        for text in texts.values():
            fields = [field[1:] for field in string.Formatter().parse(text) if field[1] is not None]
            if any(field != ("value", "", None) for field in fields) or not text.isprintable():
                raise ValueError("they hold more than a place for the value")

        return texts


def _scorer(state: _State) -> CreditScorer:
    scorer = CreditScorer()
    for name, value in state.model_dump(exclude_unset=True).items():
        setattr(scorer, name, value)

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
