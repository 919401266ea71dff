"""Scores a portfolio from its order to its manifest."""

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

from credit_risk.settings import Settings
from credit_risk.storage.backends import open_blobs
from model_deployment.portfolio import manifest
from model_deployment.portfolio.engine import Outcome, in_process
from model_deployment.portfolio.errors import NotScored
from model_deployment.portfolio.manifest import Manifest
from model_deployment.portfolio.part import figures_of
from model_deployment.portfolio.plan import Order, Plan, check_files, planned
from model_deployment.portfolio.source import Part

_NAMED = 5  # parts that were not scored
_WARNINGS = 20  # the manifest has all


def score_portfolio(order: Order, settings: Settings, say: Callable[[str], object]) -> Manifest:
    """Score a portfolio, or what is left of it, and return its manifest.

    Parameters
    ----------
    order : Order
    settings : Settings
    say : callable
        Takes lines of progress.

    Raises
    ------
    NotScored
        When the order is refused, or some parts could not be scored; the others are.
    LogUnavailable, RegistryUnavailable
        When the run cannot begin without them.
    """
    started = datetime.now(UTC)
    plan, begun = planned(order, settings)
    run, output = plan.run, open_blobs(plan.run.order.output)
    say(
        f"run {run.id}: {len(plan.files)} files in {len(plan.parts)} parts, by version "
        f"{run.version}{', begun before' if begun else ''}"
    )
    if closed := manifest.read(output):
        say("it was complete already")
        return closed

    done = figures_of(output, plan.parts)
    left = [part for part in plan.parts if part.name not in done]
    if done:
        say(f"{len(done)} parts are scored already")

    failed: list[str] = []
    for outcome in _told(_outcomes(plan, left, settings), len(left), say):
        if outcome.figures is None:
            failed.append(outcome.error)
        else:
            done[outcome.part.name] = outcome.figures
    if failed:
        more = f"; and {len(failed) - _NAMED} more" if len(failed) > _NAMED else ""
        raise NotScored(
            f"{len(failed)} of {len(plan.parts)} parts were not scored: "
            f"{'; '.join(failed[:_NAMED])}{more}. The same command scores them"
        )
    check_files(plan)
    output.tidy(started)  # a command that was killed may have left a half-written file
    closed = manifest.close(output, plan, [done[part.name] for part in plan.parts])
    for warning in closed["warnings"][:_WARNINGS]:
        say(warning)
    return closed


def summary(closed: Manifest) -> str:
    """Return a manifest in one line."""
    return (
        f"{closed['n_decided']:,} scored by version {closed['model_version']}, "
        f"{closed['n_red']:,} of them red, {closed['n_rejected']:,} rejected; "
        f"run {closed['run']}"
    )


def _outcomes(plan: Plan, parts: Sequence[Part], settings: Settings) -> Iterator[Outcome]:
    if settings.dask_scheduler:
        # Only where there is a cluster need its package be installed.
        from model_deployment.portfolio.on_dask import on_dask

        return on_dask(plan.run, parts, settings.dask_scheduler)
    return in_process(plan.run, parts, settings)


def _told(
    outcomes: Iterator[Outcome], n_parts: int, say: Callable[[str], object]
) -> Iterator[Outcome]:
    """Pass outcomes on, with a line of progress for each."""
    began = time.monotonic()
    n_rows = 0
    for number, outcome in enumerate(outcomes, start=1):
        if outcome.figures is None:
            say(f"not scored: {outcome.error}")
        else:
            n_rows += outcome.figures["n_rows"]
            rate = n_rows / max(time.monotonic() - began, 1e-9)
            say(f"{number} of {n_parts} parts, {n_rows:,} rows, {rate:,.0f} rows/s")
        yield outcome
