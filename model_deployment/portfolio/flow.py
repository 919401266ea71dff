"""The flow that scores a portfolio, for those who start runs on Prefect's page or by a schedule.

    plan -> score -> manifest

It is one task: what is written in the output says what is done, not the state of a task. A run that
was killed is run again with the same parameters, and goes on.
"""

from typing import Literal

from prefect import State, flow, get_run_logger
from prefect.states import Completed

from credit_risk.settings import Settings
from credit_risk.storage.blobs import checked
from model_deployment.portfolio.errors import NotScored
from model_deployment.portfolio.plan import PART_ROWS, Order
from model_deployment.portfolio.run import score_portfolio, summary


@flow(name="batch-score", log_prints=False)
def batch_score(
    input: str,
    output: str,
    kind: Literal["portfolio", "decision"] = "portfolio",
    id_column: str = "",
    reasons: bool = False,
    part_rows: int = PART_ROWS,
) -> State[str]:
    """Score a portfolio.

    Parameters
    ----------
    input, output : str
        A file or folder, and a folder, by their names below PORTFOLIO_FOLDER: whoever may start a
        run may not read or write anywhere else.
    kind, id_column, reasons, part_rows
        See `Order`.
    """
    settings = Settings()
    order = Order(
        _below(settings.portfolio_folder, input),
        _below(settings.portfolio_folder, output),
        kind,
        id_column,
        reasons,
        part_rows,
    )
    closed = score_portfolio(order, settings, get_run_logger().info)
    return Completed(message=summary(closed))


def _below(folder: str, name: str) -> str:
    """Return the address of a name below a folder.

    Raises
    ------
    NotScored
        When it is not below it.
    """
    try:
        return f"{folder.rstrip('/')}/{checked(name)}"
    except ValueError:
        raise NotScored(f"{name!r} is not the name of something below {folder}") from None
