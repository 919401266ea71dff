"""The MLflow model that is logged for a scorer: on its own it decides as the Risk-O-Meter does.

It holds the scorer, the modules that the scorer needs, and the packages that these need. So
MLflow's `pyfunc.load_model` and `mlflow models serve` work anywhere. Our own services run none of
this code: see `credit_risk.registry.registry`.
"""

import ast
import importlib.metadata
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlflow.sklearn
import pandas as pd
from mlflow.models import Model, ModelSignature
from mlflow.types.schema import AnyType, ColSpec, DataType, Schema

import credit_risk
from credit_risk.schema.dataset import Dataset
from credit_risk.scoring import stored
from credit_risk.scoring.model import TRUSTED, CreditScorer

_PACKAGE = Path(credit_risk.__file__).parent
_PACKAGES = ("lightgbm", "numba", "numpy", "pandas", "pyarrow", "pydantic", "scikit-learn", "skops")
_OUTPUTS = Schema(
    [
        ColSpec(DataType.double, "risk"),
        ColSpec(DataType.string, "prediction"),
        ColSpec(DataType.double, "confidence"),
    ]
)


def log_scorer(scorer: CreditScorer, example: pd.DataFrame, name: str = "model") -> str:
    """Log a fitted scorer to the active MLflow run, and return its address.

    Parameters
    ----------
    scorer : CreditScorer
        Fitted.
    example : DataFrame
        A few applications, without their label.
    name : str
        What the logged model is called in the run.
    """
    with TemporaryDirectory() as folder:
        package = Path(folder) / _PACKAGE.name
        for module in modules():
            copy = package / module
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(_PACKAGE / module, copy)

        info = Model.log(
            artifact_path=None,  # replaced by `name`
            flavor=sys.modules[__name__],
            name=name,
            sk_model=scorer,
            serialization_format="skops",
            skops_trusted_types=TRUSTED,
            signature=ModelSignature(_inputs(scorer.dataset), _OUTPUTS),
            input_example=example,
            # Given because inferring them takes half a minute.
            pip_requirements=requirements(),
            code_paths=[str(package)],
        )

    return str(info.model_uri)


def _inputs(dataset: Dataset) -> Schema:
    """Return the columns that MLflow's users have to give."""
    # Any type: our own check decides which values are valid. MLflow's would refuse some valid ones,
    # such as whole numbers given as floats.
    return Schema(
        [ColSpec(AnyType(), a.name, required=not a.may_be_absent) for a in dataset.attributes]
    )


def save_model(path: str, mlflow_model: Model, **more: Any) -> None:
    """Write the folder of a scikit-learn model that decides by its costs.

    `Model.log` calls this function of a flavor by its name. MLflow's own wrapper of an estimator
    would call `predict`; the entries below make it use our loader and function instead.
    """
    mlflow.sklearn.save_model(path=path, mlflow_model=mlflow_model, **more)
    ours = {"loader_module": stored.__name__, "predict_fn": CreditScorer.decisions.__name__}
    mlflow_model.flavors["python_function"].update(ours)
    mlflow_model.save(str(Path(path) / "MLmodel"))


def modules() -> list[str]:
    """Return the files of this package that a stored scorer needs, such as `scoring/trees.py`."""
    needed = [Path(stored.__file__).relative_to(_PACKAGE)]
    for file in needed:  # grows during the loop
        needed += sorted(_imported(file) - {*needed})

    folders = {file.parent for file in needed} | {Path()}
    packages = [folder / "__init__.py" for folder in folders]

    return sorted(str(file) for file in (*needed, *packages))


def _imported(file: Path) -> set[Path]:
    """Return the files of this package that one of them imports."""
    found = set()
    for node in ast.walk(ast.parse((_PACKAGE / file).read_text())):
        if not isinstance(node, ast.ImportFrom) or not node.module:
            continue

        package, *parts = node.module.split(".")
        if package != _PACKAGE.name:
            continue

        module = Path(*parts)
        if (_PACKAGE / module).is_dir():
            found |= {(module / alias.name).with_suffix(".py") for alias in node.names}
        else:
            found.add(module.with_suffix(".py"))

    return found


def requirements() -> list[str]:
    """Return the packages that a stored scorer needs, each at the version that is installed."""
    return [f"{package}=={importlib.metadata.version(package)}" for package in _PACKAGES]
