"""Contributions, reasons in words, and what would change a decision."""

import itertools

import numpy as np
import pytest
import skops.io
from sklearn.base import clone
from sklearn.model_selection import StratifiedKFold

from credit_risk.scoring.counterfactual import counterfactual
from credit_risk.scoring.explanation import NotExplainable
from credit_risk.scoring.model import TRUSTED, CreditScorer
from credit_risk.scoring.reason_codes import LEAST_EFFECT, MOST
from tests.support.german_credit import (
    ATTRIBUTE,
    GERMAN_CREDIT,
    LEVERS,
    MEANINGS,
    NAMES,
    PROTECTED,
    SCORED,
    TEXTS,
    encode,
    read_training,
    split,
)

AT = {name: NAMES.index(name) for name in NAMES}


@pytest.fixture(scope="module")
def encoded_split():
    train, test = split(read_training("data/credit-g.csv"))
    return encode(train), train["class"].to_numpy(str), encode(test)


def out_of_fold(scorer, codes, labels):
    risk = np.empty(len(codes))
    for train, test in StratifiedKFold(4).split(codes, labels):
        risk[test] = clone(scorer).fit(codes[train], labels[train]).risk(codes[test])
    return risk


def fitted(scorer, codes, labels):
    return scorer.fit(codes, labels, out_of_fold(scorer, codes, labels))


@pytest.fixture(scope="module")
def scorer(encoded_split):
    members = [{"num_boost_round": 60, "seed": seed} for seed in (1, 2)]
    return fitted(CreditScorer({"learning_rate": 0.1}, members=members), *encoded_split[:2])


@pytest.fixture(scope="module", params=[None, 0.1, 0.5])
def at_base_rate(request, encoded_split):
    return fitted(
        CreditScorer({"learning_rate": 0.1}, 80, base_rate=request.param), *encoded_split[:2]
    )


def logit(p):
    return np.log(p / (1 - p))


def test_contributions_sum_to_the_score(at_base_rate, encoded_split):
    codes = encoded_split[2]
    found = at_base_rate.explain(codes)
    np.testing.assert_allclose(
        found.contributions.sum(axis=1) + found.bias, logit(at_base_rate.risk(codes)), atol=1e-6
    )


def test_a_red_clients_effects_sum_to_more_risk(at_base_rate, encoded_split):
    codes = encoded_split[2]
    red = at_base_rate.decide(codes).red
    assert red.any()
    assert at_base_rate.explain(codes).effects.sum(axis=1)[red].min() > 0


def test_effects_are_relative_to_the_mean_accepted_client(encoded_split):
    codes, labels, test = encoded_split
    risk = np.where(np.arange(len(codes)) < 100, 0.01, 0.9)  # the first hundred, say
    scorer = CreditScorer(num_boost_round=20).fit(codes, labels, risk)
    mean = scorer.explain(codes[:100]).contributions.mean(axis=0)
    found = scorer.explain(test)
    np.testing.assert_allclose(found.effects, found.contributions - mean)


def test_reasons_exist_where_nobody_would_be_accepted(encoded_split):
    codes, labels, test = encoded_split
    scorer = CreditScorer(num_boost_round=20, cost_bad=1000).fit(
        codes, labels, np.linspace(0.2, 0.9, len(codes))
    )
    assert all(found.raising for found in scorer.reasons(test))


def test_accepted_share_is_that_of_out_of_fold_risks(encoded_split):
    codes, labels, _ = encoded_split
    risk = np.linspace(0, 0.5, len(codes))
    assert CreditScorer(num_boost_round=5).fit(codes, labels, risk).acceptance == pytest.approx(
        1 / 3, abs=0.01
    )
    assert CreditScorer(num_boost_round=5).fit(codes, labels).acceptance is None


def test_a_red_client_gets_only_raising_reasons_a_green_one_both_apart(scorer, encoded_split):
    codes = encoded_split[2]
    red = scorer.decide(codes).red
    found = scorer.reasons(codes)
    for refused, one in zip(red, found, strict=True):
        assert 1 <= len(one.raising) <= MOST or not refused
        assert not (refused and one.lowering)
        assert all(reason.effect > 0 for reason in one.raising)
        assert all(reason.effect < 0 for reason in one.lowering)
        for reasons in (one.raising, one.lowering):
            assert len(reasons) <= MOST
            strength = [abs(reason.effect) for reason in reasons]
            assert strength == sorted(strength, reverse=True)
            assert len(reasons) < 2 or strength[-1] >= LEAST_EFFECT
    assert any(one.lowering for one in found)


@pytest.mark.parametrize("labels", ["meaning", "file"])
def test_reasons_are_of_the_strongest_effects_with_what_is_recorded(scorer, encoded_split, labels):
    codes = encoded_split[2]
    effects = scorer.explain(codes).effects
    found = scorer.reasons(codes, labels=labels)
    for row, effect, one in zip(codes, effects, found, strict=True):
        first = one.raising[0] if one.raising else None
        if first is not None:
            assert first.attribute == SCORED[int(np.argmax(effect))]
            assert first.effect == pytest.approx(effect.max())
        for reason in (*one.raising, *one.lowering):
            code = row[AT[reason.attribute]]
            attribute = ATTRIBUTE[reason.attribute]
            value = f"{int(code):,}"
            if attribute.kind == "category":
                value = attribute.categories[int(code)]
                if labels == "meaning":
                    value = MEANINGS[attribute.name][value]
            assert value in reason.text
            assert reason.meaning == MEANINGS.get(reason.attribute, {}).get(reason.value, "")


def test_reasons_exclude_protected_attributes_and_scores(scorer, encoded_split):
    codes = encoded_split[2]
    words = {
        reason.attribute
        for one in scorer.reasons(codes)
        for reason in (*one.raising, *one.lowering)
    }
    assert words <= set(SCORED)
    assert not {
        text
        for name, text in TEXTS.items()
        if name.split()[0] in PROTECTED or "score" in text.lower()
    }


def test_every_scored_attribute_has_reason_texts():
    for name in SCORED:
        assert "{value}" in TEXTS[name]
        attribute = ATTRIBUTE[name]
        if attribute.kind == "category":
            assert (
                "“{value}”" in TEXTS[name]
            )  # quoted: the label may mean something else than it says
        elif name in MEANINGS:
            assert TEXTS[name].endswith("class {value}")


def test_comparisons_hold_for_accepted_clients(scorer, encoded_split):
    codes, labels, test = encoded_split
    accepted = codes[out_of_fold(scorer, codes, labels) < scorer.threshold]
    compared = 0
    for one in scorer.reasons(test):
        for reason in (*one.raising, *one.lowering):
            column = AT[reason.attribute]
            if reason.attribute == "duration" and ", " in reason.text:
                shorter = np.mean(accepted[:, column] < int(reason.value))
                longer = np.mean(accepted[:, column] > int(reason.value))
                assert ("longer" in reason.text) == (shorter >= longer)
                compared += 1
            elif "common among" in reason.text:
                attribute = ATTRIBUTE[reason.attribute]
                code = (
                    attribute.categories.index(reason.value)
                    if attribute.categories
                    else int(reason.value)
                )
                share = np.mean(accepted[:, column] == code) - np.mean(codes[:, column] == code)
                assert ("less common" in reason.text) == (share < 0)
                compared += 1
    assert compared > 100


def test_reasons_are_stored_with_the_scorer(scorer, encoded_split, monkeypatch):
    stored = skops.io.dumps(scorer)
    before = scorer.reasons(encoded_split[2])
    monkeypatch.setitem(TEXTS, "duration", "Something else: {value}")
    loaded = skops.io.loads(stored, trusted=TRUSTED)
    assert loaded.reasons(encoded_split[2]) == before


def test_without_out_of_fold_risks_nothing_is_explained(encoded_split):
    codes, labels, test = encoded_split
    scorer = CreditScorer(num_boost_round=5).fit(codes, labels)
    with pytest.raises(NotExplainable, match="fit"):
        scorer.explain(test)


def test_reason_sentences_match_the_decision(scorer, encoded_split):
    codes = encoded_split[0]
    red = scorer.decide(codes).red
    words = [
        one.raising if refused else one.lowering
        for one, refused in zip(scorer.reasons(codes), red, strict=True)
    ]
    assert scorer.sentences(codes).to_pylist() == [
        "; ".join(reason.text for reason in found) for found in words
    ]
    assert 0 < red.sum() < len(red)
    assert scorer.sentences(codes[:0]).to_pylist() == []


def test_reasons_of_no_rows_are_empty(scorer):
    assert scorer.reasons(np.empty((0, 20))) == []


def test_the_base_rate_corrects_the_odds_before_the_threshold(encoded_split):
    codes, labels, test = encoded_split
    plain = CreditScorer(num_boost_round=40).fit(codes, labels)
    rare = CreditScorer(num_boost_round=40, base_rate=0.05).fit(codes, labels)
    ratio = (0.05 / 0.95) / (0.3 / 0.7)
    np.testing.assert_allclose(logit(rare.risk(test)), logit(plain.risk(test)) + np.log(ratio))
    np.testing.assert_array_equal(rare.decide(test).red, rare.risk(test) >= 1 / 6)
    assert (plain.prior, rare.prior) == (pytest.approx(0.3), 0.05)
    same = CreditScorer(num_boost_round=40, base_rate=plain.prior).fit(codes, labels)
    np.testing.assert_allclose(same.risk(test), plain.risk(test))
    with pytest.raises(ValueError, match="base_rate"):
        CreditScorer(base_rate=1.0).fit(codes, labels)


def brute_force(scorer, codes, levers):
    """Every whole number and step, one by one: what `counterfactual` must find the least of."""
    low = {name: scorer.domain.ranges[name][0] for name in ("credit_amount", "duration")}
    options = []
    for name in LEVERS:
        present = codes[AT[name]]
        values = [(present, 0.0)]
        if name in levers and name in low:
            values += [(v, 10 + (present - v) / present) for v in range(low[name], int(present))]
        elif name in levers and name == "savings_status" and present < 4:
            values.append((present + 1, 10.25))
        elif name in levers and name == "other_parties" and present == 0:
            values.append((2, 11))
        options.append(values)
    found = list(itertools.product(*options))
    rows = np.tile(codes, (len(found), 1))
    rows[:, [AT[name] for name in LEVERS]] = [[value for value, _ in one] for one in found]
    sizes = np.array([sum(size for _, size in one) for one in found])
    sizes[scorer.decide(rows).red] = np.inf
    return rows[np.argmin(sizes)] if np.isfinite(sizes.min()) else None


@pytest.mark.parametrize(
    "levers", [("credit_amount",), ("duration", "savings_status", "other_parties")]
)
def test_counterfactual_is_the_smallest_change(scorer, encoded_split, levers):
    codes = encoded_split[2]
    reds = codes[scorer.decide(codes).red][:25]
    outcomes = set()
    for client in reds:
        expected, found = (
            brute_force(scorer, client, levers),
            counterfactual(scorer, client, levers),
        )
        outcomes.add(found is None)
        if expected is None:
            assert found is None
        else:
            np.testing.assert_array_equal(found.codes, expected)
    assert outcomes == {True, False}


def test_counterfactual_is_green_and_changes_nothing_else(at_base_rate, encoded_split):
    codes = encoded_split[2]
    for client in codes[at_base_rate.decide(codes).red][:40]:
        change = counterfactual(at_base_rate, client)
        if change is None:
            continue
        assert not at_base_rate.decide(change.codes[None]).red[0]
        assert change.risk == at_base_rate.risk(change.codes[None])[0] < at_base_rate.threshold
        different = {name for name in NAMES if change.codes[AT[name]] != client[AT[name]]}
        assert different == set(change.attributes) <= set(LEVERS)
        for name in different & {"credit_amount", "duration"}:
            assert f"{int(change.codes[AT[name]]):,}" in change.text


def test_counterfactual_has_the_words_that_are_asked_for(at_base_rate, encoded_split):
    savings, at = GERMAN_CREDIT.by_name["savings_status"], AT["savings_status"]
    codes, found = encoded_split[2], 0
    for client in codes[at_base_rate.decide(codes).red]:
        one, other = (
            counterfactual(at_base_rate, client, ["savings_status"], labels)
            for labels in ("meaning", "file")
        )
        if one is None:
            assert other is None
            continue
        new, old = (savings.recorded(code[at]) for code in (one.codes, client))
        said, before = savings.meaning(new), savings.meaning(old)
        start = "Would be green with savings recorded as"
        assert one.text == f"{start} “{said}” ({new}) instead of “{before}”"
        assert other.text == f"{start} “{new}” ({said}) instead of “{old}”"
        assert (one.risk, one.codes.tolist()) == (other.risk, other.codes.tolist())
        found += 1
    assert found


def test_a_green_client_needs_no_change(scorer, encoded_split):
    codes = encoded_split[2]
    assert counterfactual(scorer, codes[~scorer.decide(codes).red][0]) is None


def test_attribute_that_a_client_cannot_change_is_not_a_lever(scorer, encoded_split):
    with pytest.raises(ValueError, match="age"):
        counterfactual(scorer, encoded_split[2][0], ["age"])
