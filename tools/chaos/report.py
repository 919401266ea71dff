"""The table of an experiment, in Markdown."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from tools.chaos.load import ANSWERED, FILE, SCORE
from tools.chaos.training import Run
from tools.chaos.verdict import Verdict, shown

HEAD = (
    "service",
    "fault",
    "what clients saw",
    "longest wait, s",
    "no score for, s",
    "well again after, s",
    "training under way",
    "alerts that came",
)
NOT_BACK = "did not come back"
NOTHING = "-"


@dataclass
class Row:
    """One fault of one service.

    Attributes
    ----------
    impossible : str
        Why there was none; everything below is empty then.
    seen : dict
        For scores and for files, how many requests ended in which way.
    wait : float
        Seconds that a client waited at most for an answer.
    silence : float
        Seconds without any answered score, at most.
    back : float or None
        Seconds from the fault's end until the service was well by itself; None if it never was.
    """

    service: str
    fault: str
    impossible: str = ""
    seen: dict[str, dict[str, int]] = field(default_factory=dict)
    wait: float = 0.0
    silence: float = 0.0
    back: float | None = None
    training: Run | None = None
    alerts: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether the service came back, where it was broken."""
        return bool(self.impossible) or self.back is not None

    def cells(self) -> list[str]:
        """Return the row as text."""
        if self.impossible:
            return [self.service, self.fault, self.impossible, *[NOTHING] * 5]
        return [
            self.service,
            self.fault,
            _seen(self.seen),
            f"{self.wait:.1f}",
            f"{self.silence:.1f}",
            NOT_BACK if self.back is None else f"{self.back:.1f}",
            self.training.outcome() if self.training else "none",
            ", ".join(self.alerts) or NOTHING,
        ]


def table(rows: Sequence[Row]) -> str:
    """Return the rows as a Markdown table."""
    lines = [HEAD, ["---"] * len(HEAD), *(row.cells() for row in rows)]
    return "\n".join(f"| {' | '.join(_escaped(cell) for cell in line)} |" for line in lines)


def conclusion(verdict: Verdict) -> str:
    """Return what the log holds of what was accepted, a Markdown list."""
    forms = ", ".join(f"{n:,} {form}" for form, n in sorted(verdict.forms.items()))
    facts = [
        f"{verdict.accepted:,} requests were accepted; in the log are {forms or 'none'}, "
        f"of which {verdict.unheard:,} are of clients who never got an answer",
        *(shown(verdict) or ["each accepted request is stored exactly once, with all its rows"]),
        verdict.verified,
    ]
    return "\n".join(f"- {fact}" for fact in facts)


def _seen(seen: dict[str, dict[str, int]]) -> str:
    return "; ".join(
        f"{name}: {', '.join(f'{n} {outcome}' for outcome, n in seen.get(what, {}).items())}"
        for what, name in ((SCORE, "scores"), (FILE, "files"))
        if seen.get(what) and (seen[what][ANSWERED] or len(seen[what]) > 1)
    )


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
