"""Another data set, with decimals and missing values, is scored as LightGBM scores it."""

import itertools

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest
import skops.io
from hypothesis import given
from hypothesis import strategies as st

from credit_risk.schema.codec import codes_of, decode, encode
from credit_risk.schema.dataset import Dataset
from credit_risk.schema.validation import Validator
from credit_risk.scoring.counterfactual import counterfactual
from credit_risk.scoring.inputs import Inputs
from credit_risk.scoring.model import CreditScorer
from credit_risk.scoring.stored import ModelRefused, read
from credit_risk.scoring.table_scorer import TOLERANCE, Kernel

REGIONS = ("north", "east", "south", "west", "abroad", "islands")
GRADES = ("E", "D", "C", "B", "A")


def values(names):
    return [{"value": name} for name in names]


LOANS = Dataset.model_validate(
    {
        "name": "loans",
        "title": "Loans",
        "attributes": [
            {
                "name": "sum",
                "label": "Sum {lent}",
                "kind": "number",
                "unit": "€",
                "minimum": 100,
                "maximum": 50000,
                "decimals": 2,
                "missing": True,
                "direction": "more",
            },
            {
                "name": "interest",
                "label": "Interest",
                "kind": "number",
                "minimum": -1,
                "maximum": 30,
                "decimals": 1,
                "decimal_mark": ",",
                "missing": True,
            },
            {"name": "sex", "label": "Sex", "kind": "flag", "protected": True},
            {
                "name": "region",
                "label": "Region",
                "kind": "category",
                "values": values(REGIONS),
                "missing": True,
            },
            {
                "name": "grade",
                "label": "Grade",
                "kind": "category",
                "order": "natural",
                "values": values(GRADES),
                "missing": True,
            },
            {"name": "owner", "label": "Owner", "kind": "flag"},
            {
                "name": "jobs",
                "label": "Jobs",
                "kind": "number",
                "minimum": 0,
                "maximum": 9,
                "missing": True,
            },
        ],
        "levers": [
            {"attribute": "sum", "way": "lower", "text": "{new} € instead of {old}"},
            {"attribute": "grade", "way": "next", "text": "grade {new} instead of {old}"},
            {"attribute": "region", "way": "set", "to": "north", "text": "a move to the {new}"},
        ],
    }
)
AT = {name: place for place, name in enumerate(LOANS.names)}


def clients(n: int, seed: int, gaps: float = 0.15) -> tuple[pd.DataFrame, np.ndarray]:
    """Return synthetic applications, with gaps where values may be missing, and labels."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "sum": random.lognormal(8, 1, n).clip(100, 50000).round(2),
            "interest": random.normal(8, 4, n).clip(-1, 30).round(1),
            "sex": random.choice(["no", "yes"], n),
            "region": random.choice(REGIONS, n),
            "grade": random.choice(GRADES, n),
            "owner": random.choice(["no", "yes"], n),
            "jobs": random.integers(0, 10, n),
        }
    ).astype(object)
    worse = frame["region"].map(dict(zip(REGIONS, (1, -1, 0, 1, -1.5, 2), strict=True)))
    score = np.log(frame["sum"].astype(float)) - 9 + worse.astype(float)
    score += 0.2 * (frame["interest"].astype(float) - 8) - frame["grade"].map(GRADES.index) + 1.5
    for attribute in LOANS.attributes:
        if attribute.missing:
            frame.loc[random.random(n) < gaps, attribute.name] = None
    score += 1.5 * frame["region"].isna()  # who gives no region is a risk
    bad = random.random(n) < 1 / (1 + np.exp(-score.to_numpy(float)))
    return frame, np.where(bad, "bad", "good")


@pytest.fixture(scope="module")
def scorer():
    frame, labels = clients(900, seed=0)
    new = CreditScorer({"learning_rate": 0.1, "monotone": True}, 60, definition=LOANS.text)
    risk = CreditScorer({}, 30, definition=LOANS.text).fit(frame, labels).risk(encode(frame, LOANS))
    return new.fit(frame, labels, risk)


@pytest.fixture(scope="module")
def codes():
    return encode(clients(600, seed=1, gaps=0.3)[0], LOANS)


def lightgbms(scorer, codes, **what):
    """Return what LightGBM makes of the text that it wrote itself."""
    return lgb.Booster(model_str=scorer.model_text_).predict(scorer.inputs.of(codes), **what)


def edges(scorer, n: int = 2000):
    """Return clients with the values next to every threshold, and gaps."""
    random = np.random.default_rng(2)
    codes = np.full((n, len(LOANS.names)), np.nan)
    for place, attribute in enumerate(LOANS.attributes):
        if attribute.categories:
            choices = np.arange(len(attribute.categories), dtype=float)
        else:
            at = [
                threshold
                for tree in scorer.trees
                for feature, threshold in zip(tree.feature, tree.threshold, strict=True)
                if LOANS.scored[feature] == attribute.name
            ]
            beside = [*np.nextafter(at, np.inf), *np.nextafter(at, -np.inf)]
            choices = np.array([*at, *beside, 0.0, attribute.minimum, attribute.maximum])
        if attribute.may_be_absent:
            choices = np.append(choices, np.nan)
        codes[:, place] = random.choice(choices, n)
    return codes


def test_the_trees_use_what_is_new_in_the_data_set(scorer):
    used = {LOANS.scored[feature] for tree in scorer.trees for feature in tree.feature}
    assert {"sum", "interest", "region", "grade"} <= used
    assert any(decision & 12 for tree in scorer.trees for decision in tree.decision)
    assert set(scorer.ranks_) == {"region", "owner"}


def test_nominal_values_are_ranked_by_their_bad_rate(scorer):
    frame, labels = clients(900, seed=0)
    bad = pd.Series(labels == "bad").groupby(frame["region"]).mean()
    ranked = sorted(REGIONS, key=dict(zip(REGIONS, scorer.ranks_["region"], strict=True)).get)
    assert ranked[0] == bad.idxmin()
    assert ranked[-1] == bad.idxmax()


def test_ranks_keep_missing_values_missing(scorer, codes):
    seen = scorer.inputs.of(codes)
    np.testing.assert_array_equal(np.isnan(seen), np.isnan(codes[:, LOANS.scored_columns]))


def test_ranks_of_values_that_no_client_has_lie_between():
    codes = np.full((20, len(LOANS.names)), np.nan)
    codes[:, AT["region"]] = [0] * 10 + [1] * 10
    ranks = Inputs.fit(LOANS, codes, np.arange(20) < 10).ranks["region"]
    assert (ranks[1], ranks[0]) == (0, len(REGIONS) - 1)


@pytest.mark.parametrize("which", ["codes", "edges"])
def test_the_table_scorer_equals_lightgbm(scorer, codes, which):
    kernel = Kernel(scorer.trees, LOANS)
    kernel.check(scorer.booster)
    codes = codes if which == "codes" else edges(scorer)
    assert np.isnan(codes[:, AT["region"]]).any()

    ranked = scorer.inputs.ranked(codes)
    raw = lightgbms(scorer, codes, raw_score=True)
    np.testing.assert_allclose(kernel.scores(ranked), raw, atol=TOLERANCE)
    np.testing.assert_allclose(kernel.risks(ranked), lightgbms(scorer, codes), atol=TOLERANCE)
    explained = lightgbms(scorer, codes, pred_contrib=True)
    np.testing.assert_allclose(kernel.contributions(ranked), explained, atol=TOLERANCE)


def test_few_clients_are_scored_as_many(scorer, codes):
    alone = read(skops.io.dumps(scorer))
    few = np.concatenate([alone.risk(codes[i : i + 1]) for i in range(20)])
    assert "kernel" not in alone.__dict__  # LightGBM scored these, the kernel scores the others
    alone.warm_up()
    assert alone.kernel is not None
    np.testing.assert_allclose(few, alone.risk(codes)[:20], atol=TOLERANCE)
    np.testing.assert_allclose(few, scorer.booster.predict(scorer.inputs.of(codes[:20])))


APPLICATION = st.fixed_dictionaries(
    {
        "sum": st.none() | st.integers(10_000, 5_000_000).map(lambda n: n / 100),
        "interest": st.none() | st.integers(-10, 300).map(lambda n: n / 10),
        "sex": st.sampled_from([None, "no", "yes"]),
        "region": st.sampled_from([None, *REGIONS]),
        "grade": st.sampled_from([None, *GRADES]),
        "owner": st.sampled_from(["no", "yes", True, False, 1, "0"]),
        "jobs": st.none() | st.integers(0, 9),
    }
)


@given(rows=st.lists(APPLICATION, min_size=1, max_size=20))
def test_any_valid_application_is_scored_as_by_lightgbm(scorer, rows):
    found = Validator(LOANS, scorer.domain).rows(rows)
    assert not found.faults
    scorer.warm_up()
    assert scorer.kernel is not None
    risks = scorer.risk(found.codes)
    np.testing.assert_allclose(risks, lightgbms(scorer, found.codes), atol=TOLERANCE)
    again = codes_of(decode(found.codes, LOANS), LOANS)
    np.testing.assert_array_equal(again, found.codes)


def test_more_is_never_less_risk_where_that_is_known(scorer, codes):
    sums = np.linspace(100, 50000, 200)
    for client in codes[:20]:
        clients = np.tile(client, (len(sums), 1))
        clients[:, AT["sum"]] = sums
        assert (np.diff(scorer.risk(clients)) >= -1e-12).all()


def test_protected_values_do_not_matter(scorer, codes):
    others = codes.copy()
    others[:, AT["sex"]] = np.where(np.isnan(codes[:, AT["sex"]]), 1, np.nan)
    np.testing.assert_array_equal(scorer.risk(codes), scorer.risk(others))


def test_a_stored_scorer_is_the_same(scorer, codes):
    again = read(skops.io.dumps(scorer))
    for one in (again, scorer):
        one.warm_up()
    assert again.dataset == LOANS
    assert again.dataset.digest == LOANS.digest
    assert again.domain == scorer.domain
    assert again.ranks_ == scorer.ranks_
    np.testing.assert_array_equal(again.risk(codes), scorer.risk(codes))
    np.testing.assert_array_equal(again.explain(codes).effects, scorer.explain(codes).effects)
    assert again.sentences(codes).equals(scorer.sentences(codes))


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("ranks_", {"region": [0.0] * len(REGIONS), "owner": [0.0, 1.0]}),
        ("ranks_", {"region": [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]}),
        ("ranks_", {}),
        ("domain_", {"ranges": {}, "categories": {}}),
        ("definition_", "{}"),
        ("definition_", LOANS.model_copy(update={"levers": (), "attributes": ()}).text),
    ],
)
def test_a_scorer_that_contradicts_its_definition_is_refused(scorer, name, changed):
    other = read(skops.io.dumps(scorer))
    setattr(other, name, changed)
    with pytest.raises(ModelRefused):
        read(skops.io.dumps(other))


def test_a_scorer_with_long_labels_can_be_stored():
    first, *others = (a.model_dump() for a in LOANS.attributes)
    long = first | {"label": "{" * 200, "unit": "u" * 200}
    definition = LOANS.model_copy(update={"levers": ()}).model_dump() | {
        "attributes": [long, *others]
    }
    dataset = Dataset.model_validate(definition)
    frame, labels = clients(200, seed=3)
    scorer = CreditScorer({}, 2, definition=dataset.text).fit(frame, labels)
    assert read(skops.io.dumps(scorer)).dataset == dataset


def test_reasons_say_what_is_not_given(scorer, codes):
    without = codes.copy()
    without[:, AT["region"]] = np.nan
    scorer.warm_up()
    given = [
        reason
        for found in scorer.reasons(without)
        for reason in (*found.raising, *found.lowering)
        if reason.attribute == "region"
    ]
    assert given
    assert {(r.value, r.text, r.meaning) for r in given} == {("", "Region is not given", "")}
    sentences = scorer.sentences(without).to_pylist()
    assert any("Region is not given" in sentence for sentence in sentences)


def test_reasons_are_in_the_words_of_the_definition(scorer, codes):
    texts = [r.text for found in scorer.reasons(codes) for r in (*found.raising, *found.lowering)]
    assert any(text.startswith("Sum {lent} is ") and " €" in text for text in texts)
    assert any(text.startswith("Grade is recorded as “") for text in texts)
    assert not any("nan" in text or "None" in text for text in texts)


def test_sentences_are_the_reasons(scorer, codes):
    few = codes[:100]
    joined = [
        "; ".join(r.text for r in (found.raising if red else found.lowering))
        for found, red in zip(scorer.reasons(few), scorer.decide(few).red, strict=True)
    ]
    assert scorer.sentences(few).to_pylist() == joined


def combinations(scorer, client):
    """Return all that the levers could make of an application, by brute force."""
    sums, grades, regions = ([client[AT[name]]] for name in ("sum", "grade", "region"))
    if not np.isnan(sums[0]):
        cuts = np.unique([t for tree in scorer.trees for t in tree.threshold])
        lower = np.unique(np.floor(cuts * 100) / 100)
        least = scorer.domain.ranges["sum"][0]
        sums += [amount for amount in lower if least <= amount < sums[0]]
    if not np.isnan(grades[0]) and grades[0] + 1 < len(GRADES):
        grades.append(grades[0] + 1)
    if not np.isnan(regions[0]):
        regions.append(float(REGIONS.index("north")))
    made = []
    for point in itertools.product(sums, grades, regions):
        changed = client.copy()
        changed[[AT["sum"], AT["grade"], AT["region"]]] = point
        made.append(changed)
    return np.array(made)


def n_changed(client, changed):
    return int(np.sum(~((client == changed) | (np.isnan(client) & np.isnan(changed)))))


def test_a_change_is_found_also_where_values_are_missing(scorer, codes):
    red = codes[scorer.decide(codes).red]
    gaps = np.isnan(red[:, [AT["sum"], AT["grade"], AT["region"]]]).any(axis=1)
    n_found = 0
    for client in [*red[gaps][:25], *red[~gaps][:10]]:
        every = combinations(scorer, client)
        green = every[~scorer.decide(every).red]
        change = counterfactual(scorer, client)
        assert (change is None) == (len(green) == 0)
        if change is None:
            continue
        n_found += 1
        assert not scorer.decide(change.codes[None]).red[0]
        assert n_changed(client, change.codes) == len(change.attributes)
        assert len(change.attributes) == min(n_changed(client, other) for other in green)
        assert not any(np.isnan(client[AT[name]]) for name in change.attributes)
        assert "nan" not in change.text
    assert n_found > 5
