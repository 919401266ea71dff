"""The part above Evidently's report: the verdict and how it was reached."""

from html import escape
from typing import Any

_STYLE = """
<style>
  .verdict { font: 14px/1.5 Roboto, Helvetica, Arial, sans-serif; margin: 24px; color: #212121; }
  .verdict table { border-collapse: collapse; }
  .verdict th, .verdict td { padding: 2px 12px; text-align: right; border-bottom: 1px solid #ddd; }
  .verdict :is(th, td):is(:first-child, :nth-child(2)) { text-align: left; }
  .verdict .drifted { font-weight: bold; color: #b00020; }
</style>
"""


def summary(figures: dict[str, Any]) -> str:
    """Return the verdict as HTML, given the figures of a report."""
    drift, window = figures["drift"], figures["window"]
    rows = "".join(
        _row(f) for f in sorted(drift["features"], key=lambda f: (not f["drifted"], f["adjusted"]))
    )
    unjudged = "".join(
        f"<li>{escape(name)}: {escape(why)}</li>" for name, why in drift["unjudged"].items()
    )
    performance = "Too few for a classification performance."
    if figures["performance"]:
        performance = (
            "The classification performance at the end is that of these, "
            "good clients being the positive class."
        )
    n_labelled = f"{figures['n_labelled']} of those of version {escape(figures['model_version'])}"

    return f"""{_STYLE}
<div class="verdict">
<h1>{"Dataset drift" if drift["dataset_drift"] else "No dataset drift"}</h1>
<p>{window["n"]:,} decisions from {window["start"]:%Y-%m-%d %H:%M} to {window["end"]:%Y-%m-%d %H:%M}
UTC against what version {escape(figures["model_version"])} was trained on. A feature has drifted
when its test is significant at 5 % after Holm's correction and its population stability index (PSI)
exceeds .1 and what chance gives in one of 100 such windows. The dataset has when the risk has, or
at least two features.</p>
<table>
<tr><th>Feature</th><th>Test</th><th>Values</th><th>p</th><th>p, corrected</th><th>PSI</th>
<th>PSI limit</th><th>Drifted</th></tr>
{rows}
</table>
{f"<p>Not judged:</p><ul>{unjudged}</ul>" if unjudged else ""}
<p>{_newest(window["n"], figures["newest"])}</p>
<p>{n_labelled} among them have a known class. {performance}</p>
</div>
"""


def _newest(n: int, newest: dict[str, Any]) -> str:
    """Return which decisions Evidently's part shows, which drifted, and what it failed on."""
    if newest["n"] == n:
        text = "What follows is Evidently's, on the same decisions."
    else:
        drifted = escape(", ".join(newest["drift"]["drifted"]) or "no feature")
        text = (
            f"What follows is Evidently's, on the newest {newest['n']:,} of them; "
            f"among these drifted: {drifted}."
        )

    if newest["failed"]:
        failed = escape(", ".join(newest["failed"]))
        text += f" It failed on {failed}; the worker's log says why."
    return text


def _row(f: dict[str, Any]) -> str:
    cells = (
        escape(f["feature"]),
        escape(f["test"]),
        f["n"],
        f"{f['p_value']:.2g}",
        f"{f['adjusted']:.2g}",
        f"{f['psi']:.3f}",
        f"{f['psi_limit']:.3f}",
        "yes" if f["drifted"] else "no",
    )
    start = '<tr class="drifted">' if f["drifted"] else "<tr>"
    return start + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
