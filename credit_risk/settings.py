"""Every setting of the stack, in one class.

Read once at each entry point and passed on, so that a test or a second stack on the same machine can hand in its own.
A setting's environment variable is its name in upper case; `.env` in the working directory is read too.
"""

import sys
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from credit_risk import keys

Network = IPv4Network | IPv6Network


class Settings(BaseSettings):
    """Settings of all services; each reads those it needs.

    Raises
    ------
    pydantic.ValidationError
        When a variable is out of its range or not of its type.
    """

    # What is wrong with a secret must not show it.
    model_config = SettingsConfigDict(env_file=".env", extra="ignore", frozen=True, hide_input_in_errors=True)

    var_dir: Path = Field(Path("var"), description="Where local state lives (databases, logs, the local bucket)")
    data: str = Field("data/credit-g.csv", description="Training data: a CSV path or gs:// address")
    training_snapshot: str = Field(
        "latest",
        description="With which clients that were accepted here DATA is trained on: those of the latest snapshot of "
        "`make training-data` where there is one, of the snapshot with this hash, or `none`",
    )
    mlflow_tracking_uri: str = Field("http://127.0.0.1:5051", description="Address of the MLflow server")
    prefect_api_url: str = Field("http://127.0.0.1:4200/api", description="Address of the Prefect API")
    prefect_api_auth_string: SecretStr = Field(
        SecretStr(""), description="Login of the Prefect API, USER:PASSWORD; made at first start"
    )
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
    follow_alias: bool = Field(
        False,
        description="Whether the alias `production`, moved in MLflow by whoever reaches it, changes what decides "
        "(unless the version's gate failed); without, only `make approve` and `make rollback` do",
    )

    host: str = Field(
        "127.0.0.1",
        description="Address that what has a login is opened on: MLflow, Prefect, and with API_KEYS or USER_HEADER "
        "Risk-O-Meter and reports; all else answers on this machine only",
    )
    bind_address: str = Field(
        "127.0.0.1", description="Address that a service listens on; set for each by `make run` and in containers"
    )
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
    riskometer_threads: int = Field(
        8, ge=1, description="Threads that answer in each of its workers, and as many that score"
    )
    riskometer_uploads: int = Field(
        32, ge=1, description="Uploads of more than 600 kB that each of its workers takes in at a time"
    )
    max_upload_mb: int = Field(200, ge=1, description="Largest request body, in MB (10^6 bytes), on page and API")
    allowed_hosts: str = Field(
        "localhost,127.0.0.1,::1,risk-o-meter",
        description="Names that Risk-O-Meter, reports and MLflow answer to, beside HOST's own, separated by commas "
        "(Host and Origin are checked)",
    )
    api_keys: SecretStr = Field(
        SecretStr(""),
        description="Who has a key, as `make api-key NAME=...` prints it: NAME:SHA256, separated by commas; with this "
        "or USER_HEADER set, all but probes and the API's description wants a key or a user",
    )
    user_header: str = Field(
        "",
        pattern="^[A-Za-z0-9-]*$",
        description="Header in which a reverse proxy says who asks (X-Forwarded-User); none: a name is asked for",
    )
    trusted_proxies: str = Field(
        "",
        validate_default=True,
        description="Addresses and networks (10.0.0.0/24) of the proxies whose header is believed, separated by "
        "commas; USER_HEADER needs them",
    )
    scrape_key_file: Path = Field(
        Path("var/secrets/scrape-key"),
        description="File with the key that Prometheus reads `/metrics` with, where these are closed",
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
    run_keep_days: float = Field(
        90, ge=1, description="So long Prefect keeps runs that are over, with their logs; its events a week"
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

    @field_validator("api_keys")
    @classmethod
    def _hashed(cls, value: SecretStr) -> SecretStr:
        keys.parse(value.get_secret_value())
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _of_proxies(cls, value: str, info: ValidationInfo) -> str:
        if any(network.prefixlen == 0 for network in networks(value)):
            raise ValueError("a network of all addresses would trust everybody")
        if info.data.get("user_header") and not words(value):
            raise ValueError("USER_HEADER is believed from these alone: name the proxy's address or network")
        return value


def words(text: str) -> list[str]:
    """Return the words of a setting that lists several, separated by commas."""
    return [word for word in (part.strip() for part in text.split(",")) if word]


def networks(text: str) -> tuple[Network, ...]:
    """Return the networks of a setting that lists addresses and networks, separated by commas.

    Raises
    ------
    ValueError
        When one is neither.
    """
    return tuple(ip_network(word) for word in words(text))


def read_settings() -> Settings:
    """Return the settings; what is wrong with them ends the process, with one line for each fault."""
    try:
        return Settings()
    except ValidationError as error:
        sys.exit("\n".join(faults(error)))


def faults(error: ValidationError) -> list[str]:
    """Return what is wrong with settings, a line each; a secret is not in it."""
    lines = []
    for fault in error.errors(include_url=False):
        name = str(fault["loc"][0])
        secret = isinstance(Settings.model_fields[name].default, SecretStr)
        lines.append(f"{name.upper()}{'' if secret else '=' + str(fault['input'])}: {fault['msg']}")
    return lines


def describe() -> str:
    """Return the table of settings as Markdown: variable, default, meaning."""
    lines = ["| variable | default | meaning |", "|---|---|---|"]
    lines += [
        f"| `{name.upper()}` | `{field.default}` | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    return "\n".join(lines)
