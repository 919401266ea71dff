"""How good the model is: nested, repeated cross-validation of the whole recipe beside baselines.

    make evaluate        REPEATS=2 SEED=7 make evaluate        FOLDS=3 make evaluate

Each of the outer folds is scored by a scorer that was searched for, averaged and fitted on the
others alone; the baselines see the same folds. Differences are paired by fold, and their errors
are corrected for the training clients that folds share (Nadeau and Bengio 2003). Prints tables, and
writes the figures as JSON.

The folds are distributed over all cores or, with DASK_SCHEDULER, over the workers of a cluster; the
figures are the same.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from credit_risk.dask_cluster import ClusterFailed
from credit_risk.metrics.calibration import calibration_error, error_by_chance, slope_intercept
from credit_risk.metrics.cost import weights
from credit_risk.schema.attributes import BAD, LABEL, Floats
from credit_risk.schema.codec import encode
from credit_risk.schema.dataset import Dataset
from credit_risk.schema.dataset_file import InvalidDataset, load_dataset
from credit_risk.schema.faults import InvalidApplications
from credit_risk.settings import Settings
from credit_risk.training_data.data import client_numbers, read_training
from credit_risk.training_data.source import training_source
from model_orchestration_and_tracking.baselines import BASELINES
from model_orchestration_and_tracking.engine import IN_PROCESS, Engine, processes
from model_orchestration_and_tracking.evaluation.fairness import slice_table, slices
from model_orchestration_and_tracking.evaluation.metrics import mean_se, metrics
from model_orchestration_and_tracking.tuning import FOLDS, KEPT, TUNING_FOLDS, client_folds, tuned

OURS = "credit-risk"
MODELS = (OURS, *BASELINES)
# The figures reported of each model, and their names in `metrics`. Cost and acceptance are always
# at the cost threshold.
FIGURES = {
    "auc": "auc",
    "brier": "brier",
    "cost": "decision_cost",
    "accuracy": "accuracy",
    "recall": "recall",
    "specificity": "specificity",
    "acceptance": "decision_acceptance",
    "decision_accuracy": "decision_accuracy",
    "decision_recall": "decision_recall",
    "decision_specificity": "decision_specificity",
    "log_loss": "log_loss",
}


class FoldTask(NamedTuple):
    """Training and test rows of an outer fold, and the seed of what is fitted on it."""

    repeat: int
    train: NDArray[np.intp]
    test: NDArray[np.intp]
    seed: int


@dataclass(frozen=True)
class Evaluation:
    """What cross-validation found.

    Attributes
    ----------
    risks : dict
        For each model the risk of each client in each repeat, shape (repeats, n), given by a scorer
        that had not seen the client.
    scores : dict
        For each model and figure the values of all folds, shape (repeats x folds,), in the same
        order for each model.
    """

    dataset: Dataset
    clients: pd.DataFrame
    risks: dict[str, Floats]
    scores: dict[str, dict[str, Floats]]
    folds: int


def evaluate(
    clients: pd.DataFrame,
    dataset: Dataset,
    models: Sequence[str] = MODELS,
    *,
    seed: int = 0,
    repeats: int = 10,
    folds: int = FOLDS,
    n_iter: int,
    engine: Engine = IN_PROCESS,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Cross-validate models on the same folds.

    Parameters
    ----------
    clients : DataFrame
        The attributes and `class`.
    dataset : Dataset
    models : sequence of str
        Names out of `MODELS`.
    n_iter : int
        Candidates that our own search tries in each fold.
    engine : Engine
        Where the folds are worked on.
    progress : callable
        Called with the number of folds done and the number of all folds.
    """
    numbers, bad = client_numbers(clients, dataset), clients[LABEL].to_numpy() == BAD
    tasks: list[FoldTask] = []
    for repeat in range(repeats):
        for train, test in client_folds(numbers, bad, folds, _seed(seed, repeat)):
            tasks.append(FoldTask(repeat, train, test, _seed(seed, repeats + len(tasks))))

    risks = {name: np.full((repeats, len(clients)), np.nan) for name in models}
    scores: dict[str, dict[str, Floats]] = {
        name: {figure: np.full(len(tasks), np.nan) for figure in FIGURES} for name in models
    }

    labels, weight = clients[LABEL].to_numpy(), weights(clients, dataset)
    work = partial(_fold, dataset=dataset, models=models, n_iter=n_iter)
    for number, found in enumerate(engine.each(work, clients, tasks)):
        repeat, test = tasks[number].repeat, tasks[number].test
        for name, risk in found.items():
            risks[name][repeat, test] = risk
            measured = metrics(labels[test], risk, dataset.costs, weight[test])
            for figure, source in FIGURES.items():
                scores[name][figure][number] = measured[source]
        progress(number + 1, len(tasks))

    return Evaluation(dataset, clients, risks, scores, folds)


def _seed(seed: int, number: int) -> int:
    """Return the seed of one part of the work; runs with neighbouring seeds share none."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


def _fold(
    clients: pd.DataFrame, fold: FoldTask, dataset: Dataset, models: Iterable[str], n_iter: int
) -> dict[str, Floats]:
    fitted, held_out = clients.iloc[fold.train], clients.iloc[fold.test]

    found = {}
    for name in models:
        if name == OURS:
            codes, labels = encode(fitted, dataset), fitted[LABEL].to_numpy(str)
            scorer = tuned(dataset, codes, labels, n_iter, fold.seed % 2**31)
            found[name] = scorer.risk(encode(held_out, dataset))
        else:
            model = BASELINES[name](fold.seed, dataset).fit(
                fitted.drop(columns=LABEL), fitted[LABEL] == BAD
            )
            found[name] = model.predict_proba(held_out.drop(columns=LABEL))[:, 1]

    return found


def report(evaluation: Evaluation) -> dict[str, Any]:
    """Return the figures of each model, and the paired differences of ours from each baseline.

    The result can be written as JSON.
    """
    bad = evaluation.clients[LABEL].to_numpy() == BAD

    models = {}
    for name, scores in evaluation.scores.items():
        models[name] = {
            figure: mean_se(values, evaluation.folds) for figure, values in scores.items()
        }
        models[name] |= _calibration(bad, evaluation.risks[name])

    ours = evaluation.scores.get(OURS, {})
    paired = {}
    for name, scores in evaluation.scores.items():
        if name != OURS:
            paired[name] = {
                figure: mean_se(values - scores[figure], evaluation.folds)
                for figure, values in ours.items()
            }

    return {"models": models, "paired": paired}


def _calibration(bad: NDArray[np.bool_], risks: Floats) -> dict[str, dict[str, float]]:
    lines = np.array([slope_intercept(risk, bad) for risk in risks])
    averaged = risks.mean(axis=0)
    chance = error_by_chance(averaged)
    return {
        "calibration_slope": {
            "mean": float(lines[:, 0].mean()),
            "sd_over_repeats": float(lines[:, 0].std()),
        },
        "calibration_intercept": {
            "mean": float(lines[:, 1].mean()),
            "sd_over_repeats": float(lines[:, 1].std()),
        },
        "ece": {
            "mean": calibration_error(averaged, bad),
            "se": chance.sd,
            "perfect_mean": chance.mean,
            "perfect_q95": chance.q95,
        },
    }


def tables(found: dict[str, Any]) -> str:
    """Return the report as Markdown tables."""
    shown = ["auc", "brier", "cost", "acceptance", "accuracy", "recall", "specificity"]
    lines = [
        "| model | AUC | Brier | cost | accepted | accuracy | recall | specificity "
        "| ECE | perfect: mean, 95 % | slope | intercept |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]

    for name, figures in found["models"].items():
        cells = [f"{figures[figure]['mean']:.4f} ± {figures[figure]['se']:.4f}" for figure in shown]

        ece = figures["ece"]
        cells += [f"{ece['mean']:.3f}", f"{ece['perfect_mean']:.3f}, {ece['perfect_q95']:.3f}"]
        cells += [
            f"{figures[figure]['mean']:.2f}"
            for figure in ("calibration_slope", "calibration_intercept")
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")

    if found["paired"]:
        lines += ["", f"| {OURS} less | AUC | Brier | cost | accuracy |", "|---|---|---|---|---|"]
        for name, figures in found["paired"].items():
            cells = [
                f"{figures[figure]['mean']:+.4f} ± {figures[figure]['se']:.4f}"
                for figure in ("auc", "brier", "cost", "accuracy")
            ]
            lines.append(f"| {name} | " + " | ".join(cells) + " |")

    return "\n".join(lines)


def _progress() -> Callable[[int, int], None]:
    start = time.monotonic()

    def show(done: int, total: int) -> None:
        left = (time.monotonic() - start) * (total - done) / done
        line = f"{done} of {total} folds, about {left:.0f} s left"
        if sys.stderr.isatty():
            print(f"\r{line}   ", end="" if done < total else "\n", file=sys.stderr, flush=True)
        elif done % max(total // 20, 1) == 0:
            print(line, file=sys.stderr, flush=True)

    return show


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    settings = Settings()
    options = _options(settings, arguments)
    try:
        dataset = load_dataset(settings.dataset)
        clients = read_training(options.data or training_source(settings), dataset)
    except (InvalidDataset, InvalidApplications, FileNotFoundError) as error:
        print(f"evaluate: {error}", file=sys.stderr)
        return 1

    jobs = options.jobs or processes(options.repeats * options.folds)
    try:
        evaluation = evaluate(
            clients,
            dataset,
            options.models,
            seed=options.seed,
            repeats=options.repeats,
            folds=options.folds,
            n_iter=options.n_iter,
            engine=Engine(settings.dask_scheduler, jobs),
            progress=_progress(),
        )
    except ClusterFailed as error:
        print(f"evaluate: {error}", file=sys.stderr)
        return 2

    groups = []
    if OURS in options.models:
        groups = slices(clients, evaluation.risks[OURS], dataset, seed=options.seed)
    found = {
        "seed": options.seed,
        "protocol": _protocol(options, dataset),
        **report(evaluation),
        "slices": [group.as_dict() for group in groups],
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(found, indent=1) + "\n")

    print(f"{found['protocol']}; seed {options.seed}\n\n{tables(found)}")
    if groups:
        print(f"\n{OURS}, by group (95 % bootstrap intervals):\n\n{slice_table(groups)}")
    print(f"\nwritten to {options.output}")
    return 0


def _options(settings: Settings, arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m model_orchestration_and_tracking.evaluate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seed", type=int, default=0, help="of folds and searches (0)")
    parser.add_argument("--repeats", type=int, default=10, help="of the folds (10)")
    parser.add_argument("--folds", type=int, default=FOLDS, help=f"parts of the data ({FOLDS})")
    parser.add_argument(
        "--n-iter",
        type=int,
        default=settings.n_iter,
        help=f"candidates of our search ({settings.n_iter})",
    )
    parser.add_argument(
        "--models", nargs="+", choices=MODELS, default=list(MODELS), help="only some of them"
    )
    parser.add_argument(
        "--jobs",
        type=int,
        default=None,
        help="processes (as many as cores); with DASK_SCHEDULER the cluster decides",
    )
    parser.add_argument("--data", help="labelled clients (DATA, or those of DATASET)")
    parser.add_argument(
        "--output",
        type=Path,
        default=settings.var_dir / "evaluation.json",
        help="where the JSON goes",
    )
    options = parser.parse_args(arguments)

    if options.repeats < 1 or options.n_iter < 1:
        parser.error("--repeats and --n-iter are at least 1")
    if options.folds < 2:
        parser.error("--folds is at least 2")
    return options


def _protocol(options: argparse.Namespace, dataset: Dataset) -> str:
    return (
        f"{dataset.title}; {options.repeats}x{options.folds}-fold stratified; "
        f"in each training part: search of {options.n_iter} candidates "
        f"over {TUNING_FOLDS} folds by log loss, best {KEPT} averaged; "
        f"threshold from the costs, per {dataset.costs.unit}; Nadeau-Bengio errors"
    )


if __name__ == "__main__":
    sys.exit(main())
