"""Every setting of the stack, in one class.

Read once at each entry point and passed on, so that a test or a second stack on the same machine can hand in its own.
A setting's environment variable is its name in upper case; `.env` in the working directory is read too.
"""

from pathlib import Path
from typing import Literal

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
    mlflow_tracking_uri: str = Field("http://127.0.0.1:5051", description="Address of the MLflow server")
    prefect_api_url: str = Field("http://127.0.0.1:4200/api", description="Address of the Prefect API")
    decision_log: str = Field(
        "sqlite:///var/decisions.db", description="The decision log: sqlite:///PATH or mongodb://USER:PASSWORD@HOST/DB"
    )
    decision_log_flush_ms: float = Field(
        0,
        ge=0,
        le=1000,
        description="How long SQLite may keep the decision on a single client from the disk, so that a power cut (not "
        "a crash) could lose it: 100 as MongoDB does, for speed; 0: each is on disk before its answer",
    )
    bucket: str = Field("var/bucket", description="Reports and big files: a folder or gs://BUCKET/PREFIX")
    model_name: str = Field("credit-risk", description="Name of the registered model in MLflow")

    host: str = Field("127.0.0.1", description="Address that our services bind to")
    mlflow_port: int = Field(5051, ge=1, le=65535, description="Port of the MLflow server")
    prefect_port: int = Field(4200, ge=1, le=65535, description="Port of the Prefect server")
    riskometer_port: int = Field(9696, ge=1, le=65535, description="Port of the Risk-O-Meter")
    prometheus_port: int = Field(9091, ge=1, le=65535, description="Port of Prometheus")
    alertmanager_port: int = Field(9093, ge=1, le=65535, description="Port of the Alertmanager")
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
        description="Names that Risk-O-Meter and reports answer to, separated by commas (Host and Origin are checked)",
    )
    api_keys: SecretStr = Field(
        SecretStr(""), description="Keys for the API, separated by commas; none: everybody who reaches it may use it"
    )
    user_header: str = Field(
        "", description="Header in which a reverse proxy says who asks (X-Forwarded-User); none: a name is asked for"
    )
    trusted_proxies: str = Field(
        "127.0.0.1,::1", description="Addresses of the proxies whose header is believed, separated by commas"
    )
    max_explained_rows: int = Field(10_000, ge=1, description="Most rows of a request that asks for reasons")
    model_poll_seconds: float = Field(10, gt=0, le=30, description="How often a worker looks for a new Production")

    drift_window_hours: float = Field(24, gt=0, description="Drift is computed over the decisions of so many hours...")
    drift_window_rows: int = Field(
        1000, ge=1, description="...or of the latest so many, where the hours hold fewer than the minimum"
    )
    drift_evidently_rows: int = Field(
        5000, ge=100, description="Evidently tests and shows the newest so many decisions of them at most"
    )
    drift_min_rows: int = Field(100, ge=2, description="Fewest decisions that drift is computed on")
    outcome_maturity_months: int = Field(
        12,
        ge=1,
        le=120,
        description="Age in months at which a vintage is mature: it is judged, and learnt from, at that age",
    )
    vintage_months: int = Field(36, ge=1, le=240, description="Vintages of so many months back are rated")
    exporter_interval_seconds: float = Field(15, gt=0, description="How often the exporter looks for new decisions")
    report_keep_days: float = Field(90, gt=0, description="So long reports are kept, in the bucket and in the log")
    refresh_keep_days: float = Field(
        7, gt=0, description="So long the log keeps each refresh's figures: 10 KB, every interval that brings decisions"
    )

    alert_webhook_url: SecretStr = Field(SecretStr(""), description="Who gets alerts as JSON by POST; none: nobody")
    alert_mail_to: str = Field("", description="Who gets alerts by mail; none: nobody")
    alert_mail_from: str = Field("", description="From whom that mail comes; none: from who gets it")
    smtp_host: str = Field("", description="The mail server, such as smtp.example.com:587")
    smtp_tls: Literal["true", "false"] = Field("true", description="Whether it is asked for TLS")
    smtp_user: str = Field("", description="Its user, where it wants one")
    smtp_password: SecretStr = Field(SecretStr(""), description="Its password, where it wants one")
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
