"""The logged model decides like the Risk-O-Meter, here and in an environment without our code."""

import json
import os
import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import requests

from credit_risk.registry.logged import log_scorer
from credit_risk.registry.registry import PRODUCTION, Registry
from credit_risk.schema.attributes import LABEL
from credit_risk.schema.faults import InvalidApplications
from credit_risk.scoring.model import CreditScorer
from tests.support.german_credit import NAMES, PROTECTED, encode
from tests.support.processes import answers, free_port, running, wait_for

TEST = "data/test.csv"
NUMBERS = ["duration", "credit_amount", "age", "num_dependents"]


pytestmark = pytest.mark.usefixtures("all_code")


@pytest.fixture(scope="module")
def costly(client_frame):
    """A scorer of other costs and another base rate than by default: it refuses from 1/4 on."""
    return CreditScorer(num_boost_round=40, cost_bad=3, base_rate=0.2).fit(
        client_frame, client_frame[LABEL]
    )


@pytest.fixture(scope="module")
def uri(mlflow_server, costly, client_frame, all_code):
    """The address of a version in production, as an outsider names it."""
    mlflow.set_tracking_uri(mlflow_server)
    mlflow.set_experiment("logged")
    registry = Registry(mlflow_server, "logged")
    with mlflow.start_run() as run:
        version = registry.register(
            run.info.run_id, log_scorer(costly, client_frame[list(NAMES)].head(3))
        )
    registry.set_alias(PRODUCTION, version.number)
    return f"models:/logged@{PRODUCTION}"


@pytest.fixture(scope="module")
def model(uri):
    return mlflow.pyfunc.load_model(uri)


@pytest.fixture
def given():
    """The test clients as pandas reads them: whole numbers are int64, and the class is included."""
    return pd.read_csv(TEST)


def absent(frame, value):
    return frame.astype(dict.fromkeys(PROTECTED, object)).assign(**dict.fromkeys(PROTECTED, value))


SENT = {
    "as pandas reads them": lambda frame: frame,
    "floats": lambda frame: frame.astype(dict.fromkeys(NUMBERS, float)),
    "small integers": lambda frame: frame.astype(dict.fromkeys(NUMBERS, "int32")),
    "nullable integers": lambda frame: frame.convert_dtypes(),
    "texts": lambda frame: frame.astype(str),
    "categories": lambda frame: frame.astype({"purpose": "category", "housing": "category"}),
    "absent columns": lambda frame: frame.drop(columns=[*PROTECTED, LABEL]),
    "None": lambda frame: absent(frame, None),
    "NaN": lambda frame: absent(frame, np.nan),
    "other columns and another order": lambda frame: frame.assign(client_id="7")[
        ["client_id", *frame.columns[::-1]]
    ],
    "another index": lambda frame: frame.set_index(np.arange(len(frame)) * 10),
}


@pytest.mark.parametrize("how", SENT)
def test_logged_model_decides_like_the_scorer_in_every_form(model, costly, given, how):
    decided = costly.decide(encode(given))
    sent = SENT[how](given)
    found = model.predict(sent)
    assert list(found.columns) == ["risk", "prediction", "confidence"]
    assert list(found.index) == list(sent.index)
    np.testing.assert_array_equal(found["risk"], decided.risk)
    np.testing.assert_array_equal(
        found["prediction"], np.where(decided.risk >= 0.25, "red", "green")
    )
    np.testing.assert_array_equal(found["confidence"], decided.confidence)
    assert 0 < np.mean(found["prediction"] == "red") < 1


def test_logged_model_scores_a_few_records(model, given):
    records = given.head(3).to_dict("records")
    pd.testing.assert_frame_equal(model.predict(records), model.predict(given.head(3)))
    assert list(model.predict(given.head(0)).columns) == ["risk", "prediction", "confidence"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"purpose": "yacht"}, "purpose 'yacht' is not one of"),
        ({"duration": 6.5}, "row 0: duration"),
        ({"duration": None}, "row 0: duration"),
        ({"credit_amount": True}, "row 0: credit_amount"),
    ],
)
def test_logged_model_refuses_invalid_applications(model, given, change, said):
    with pytest.raises(InvalidApplications, match=said):
        model.predict(given.head(2).astype(object).assign(**change))


def test_signature_requires_the_scored_attributes(model, given):
    assert [spec.name for spec in model.metadata.get_input_schema() if not spec.required] == list(
        PROTECTED
    )
    with pytest.raises(mlflow.MlflowException, match=r"missing inputs \['duration'\]"):
        model.predict(given.drop(columns="duration"))


def test_logged_scikit_learn_model_decides_by_cost(uri, costly, given):
    inner = mlflow.sklearn.load_model(uri)
    np.testing.assert_array_equal(
        inner.predict(given), np.where(costly.risk(encode(given)) >= 0.25, "bad", "good")
    )


def test_logged_code_imports_no_module_that_is_not_logged(uri, tmp_path):
    code = mlflow.artifacts.download_artifacts(f"{uri}/code", dst_path=str(tmp_path))
    files = (
        file.relative_to(code) for file in Path(code).rglob("*.py") if file.name != "__init__.py"
    )
    modules = ", ".join(".".join(file.with_suffix("").parts) for file in files)
    command = [
        sys.executable,
        "-P",
        "-c",
        f"import {modules}; print(credit_risk.scoring.stored.__file__)",
    ]
    env = os.environ | {"PYTHONPATH": code}
    done = subprocess.run(
        command, cwd=tmp_path, env=env, check=True, capture_output=True, text=True
    )
    assert done.stdout.startswith(code)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_logged_model_is_served_with_its_own_requirements(
    uri, costly, given, mlflow_server, tmp_path
):
    """In an empty folder, where there is nothing of ours but what MLflow holds."""
    uv = Path(sys.executable).parent / "uv"
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "VIRTUAL_ENV"))
    }
    env |= {
        "MLFLOW_TRACKING_URI": mlflow_server,
        "PATH": f"{tmp_path}/venv/bin{os.pathsep}{env['PATH']}",
    }
    needed = mlflow.artifacts.download_artifacts(f"{uri}/requirements.txt", dst_path=str(tmp_path))
    python = f"{tmp_path}/venv/bin/python"
    install = [uv, "pip", "install", "--python", python, "-r", needed]
    for command in ([uv, "venv", "--python", sys.executable, "venv"], install):
        subprocess.run(command, cwd=tmp_path, env=env, check=True, capture_output=True)
    port = free_port()
    serve = f"{python} -m mlflow models serve --model-uri {uri} --env-manager local --port {port}"
    command = ["env", "-i", *(f"{name}={value}" for name, value in env.items())]
    with running(
        [*command, "sh", "-c", f"mkdir {tmp_path}/empty; cd {tmp_path}/empty; exec {serve}"],
        tmp_path / "log",
    ):
        wait_for(lambda: answers(f"http://127.0.0.1:{port}/ping"), 240, "mlflow models serve")
        records = json.loads(given.head(50).to_json(orient="records"))
        for sent in (
            records,
            [row | {"duration": float(row["duration"]), "age": None} for row in records],
        ):
            answer = requests.post(
                f"http://127.0.0.1:{port}/invocations", json={"dataframe_records": sent}, timeout=60
            )
            found = pd.DataFrame(answer.json()["predictions"])
            decided = costly.decide(encode(given.head(50)))
            np.testing.assert_allclose(found["risk"], decided.risk, rtol=1e-12)
            np.testing.assert_allclose(found["confidence"], decided.confidence, rtol=1e-12)
            assert found["prediction"].tolist() == np.where(decided.red, "red", "green").tolist()
