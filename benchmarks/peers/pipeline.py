"""A scikit-learn pipeline behind FastAPI and uvicorn, as tutorials build it.

    python -m benchmarks.peers.pipeline MODEL PORT

One-hot codes and LightGBM with as many trees as ours. Pydantic validates the types and categories
of a request. Nothing is logged, no decision is kept, and there are no reasons.
"""

import os
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import joblib
import pandas as pd
import uvicorn
from fastapi import FastAPI
from lightgbm import LGBMClassifier
from pydantic import Field, create_model
from sklearn.compose import make_column_transformer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder

from benchmarks.clients import DATASET, labelled_clients
from credit_risk.schema.attributes import BAD, LABEL

TREES = 250
_MODEL = "PEER_MODEL"
_THRESHOLD = 1 / 6
_INPUTS = DATASET.scored_attributes


def fitted() -> Pipeline:
    """Return the pipeline, fitted on the data."""
    clients = labelled_clients()
    words = [a.name for a in _INPUTS if a.categories]
    encoder = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), words),
        remainder="passthrough",
    )
    # With more threads, a single row takes longer.
    model = LGBMClassifier(n_estimators=TREES, n_jobs=1, verbosity=-1, random_state=0)
    pipeline = make_pipeline(encoder, model)
    pipeline.fit(clients[[a.name for a in _INPUTS]], clients[LABEL] == BAD)
    return pipeline


def write(target: Path) -> None:
    """Write the pipeline to a file."""
    joblib.dump(fitted(), target)


def _applicant() -> Any:
    """Return pydantic's model of an applicant."""
    fields: dict[str, Any] = {}
    for attribute in _INPUTS:
        if attribute.categories:
            fields[attribute.name] = Literal[tuple(attribute.categories)], ...
        else:
            fields[attribute.name] = Annotated[int, Field(ge=attribute.minimum)], ...
    return create_model("Applicant", **fields)


def create_app() -> FastAPI:
    """Return the application of a worker process."""
    pipeline = joblib.load(os.environ[_MODEL])
    app, applicant = FastAPI(), _applicant()

    async def score(applicants: list[Any]) -> list[dict[str, Any]]:
        frame = pd.DataFrame([each.model_dump() for each in applicants])
        risks = pipeline.predict_proba(frame)[:, 1]
        return [
            {"risk": risk, "prediction": "red" if risk >= _THRESHOLD else "green"}
            for risk in risks.tolist()
        ]

    score.__annotations__["applicants"] = list[applicant]  # type: ignore[valid-type]
    app.post("/score")(score)
    app.get("/ping")(lambda: "pong")
    return app


def main() -> None:
    """Serve until stopped, with as many workers as ours."""
    os.environ[_MODEL] = sys.argv[1]
    uvicorn.run(
        "benchmarks.peers.pipeline:create_app",
        factory=True,
        port=int(sys.argv[2]),
        workers=2,
        log_level="warning",
    )


if __name__ == "__main__":
    main()
