"""Every setting of the stack, in one class.

Read once at each entry point and passed on, so that a test or a second stack on the same machine can hand in its own.
A setting's environment variable is its name in upper case; `.env` in the working directory is read too.
"""

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Settings of all services; each reads those it needs.

    Raises
    ------
    pydantic.ValidationError
        When a variable is out of its range or not of its type.
    """

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", frozen=True)

    var_dir: Path = Field(Path("var"), description="Where local state lives (databases, logs, the local bucket)")
    data: str = Field("data/credit-g.csv", description="Training data: a CSV path or gs:// address")
    training_snapshot: str = Field(
        "latest",
        description="With which clients that were accepted here DATA is trained on: those of the latest snapshot of "
        "`make training-data` where there is one, of the snapshot with this hash, or `none`",
    )
    outcome_months: int = Field(
        12, ge=1, le=120, description="So many months after its month of decision a client's outcome is learnt from"
    )
    mlflow_tracking_uri: str = Field("http://127.0.0.1:5051", description="Address of the MLflow server")
    prefect_api_url: str = Field("http://127.0.0.1:4200/api", description="Address of the Prefect API")
    decision_log: str = Field(
        "sqlite:///var/decisions.db", description="The decision log: sqlite:///PATH or mongodb://USER:PASSWORD@HOST/DB"
    )
    bucket: str = Field("var/bucket", description="Reports and big files: a folder or gs://BUCKET/PREFIX")
    model_name: str = Field("credit-risk", description="Name of the registered model in MLflow")

    host: str = Field("127.0.0.1", description="Address that our services bind to")
    mlflow_port: int = Field(5051, ge=1, le=65535, description="Port of the MLflow server")
    prefect_port: int = Field(4200, ge=1, le=65535, description="Port of the Prefect server")
    riskometer_port: int = Field(9696, ge=1, le=65535, description="Port of the Risk-O-Meter")
    prometheus_port: int = Field(9091, ge=1, le=65535, description="Port of Prometheus")
    exporter_port: int = Field(8877, ge=1, le=65535, description="Port of the drift exporter")
    grafana_port: int = Field(3000, ge=1, le=65535, description="Port of Grafana (compose only)")

    timezone: str = Field("UTC", description="Time zone of the training schedule (every Sunday at 23:00)")
    n_iter: int = Field(30, ge=1, le=1000, description="Candidates that a training run tries")

    riskometer_processes: int = Field(2, ge=1, description="Worker processes of the Risk-O-Meter")
    riskometer_threads: int = Field(8, ge=1, description="Threads of each of its workers, beside those of uploads")
    riskometer_uploads: int = Field(32, ge=1, description="Uploads that each of its workers takes in at a time")
    max_upload_mb: int = Field(200, ge=1, description="Largest request body, in MB (10^6 bytes), on page and API")
    allowed_hosts: str = Field(
        "localhost,127.0.0.1,::1,risk-o-meter",
        description="Names under which the Risk-O-Meter answers, separated by commas (Host and Origin are checked)",
    )
    api_keys: SecretStr = Field(
        SecretStr(""), description="Keys for the API, separated by commas; none: everybody who reaches it may use it"
    )
    max_explained_rows: int = Field(10_000, ge=1, description="Most rows of a request that asks for reasons")
    model_poll_seconds: float = Field(10, gt=0, le=30, description="How often a worker looks for a new Production")

    drift_window_hours: float = Field(24, gt=0, description="Drift is computed over the decisions of so many hours...")
    drift_window_rows: int = Field(
        1000, ge=1, description="...the latest so many at most, and these where the hours hold fewer than the minimum"
    )
    drift_min_rows: int = Field(100, ge=2, description="Fewest decisions that drift is computed on")
    exporter_interval_seconds: float = Field(15, gt=0, description="How often the exporter looks for new decisions")
    retrain_on_report: bool = Field(
        False,
        description="Whether a report starts a training when drift or outcomes ask for it; a person still approves",
    )
    retrain_cooldown_hours: float = Field(24, ge=0, description="Hours that pass between the start of two trainings so")


def words(text: str) -> list[str]:
    """Return the words of a setting that lists several, separated by commas."""
    return [word for word in (part.strip() for part in text.split(",")) if word]


def describe() -> str:
    """Return the table of settings as Markdown: variable, default, meaning."""
    lines = ["| variable | default | meaning |", "|---|---|---|"]
    lines += [
        f"| `{name.upper()}` | `{field.default}` | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    return "\n".join(lines)
