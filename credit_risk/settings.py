"""Every setting of the stack, in one class.

They are read once at each entry point and passed on, so that a test or a second stack on the same
machine can use its own. A setting's environment variable is its name in upper case; `.env` in the
working directory is read too.
"""

import sys
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from credit_risk import keys

Network = IPv4Network | IPv6Network
_UNLESS_EMPTY = BeforeValidator(lambda value: None if value == "" else value)
_ISSUER = r"^(https://[^\s?#]+|http://(127\.0\.0\.1|localhost|\[::1\])(:\d+)?(/[^\s?#]*)?|)$"


class Settings(BaseSettings):
    """Settings of all services; each reads those it needs.

    Raises
    ------
    pydantic.ValidationError
        When a variable is out of its range or not of its type.
    """

    # Error messages must not show secrets.
    model_config = SettingsConfigDict(
        env_file=".env", extra="ignore", frozen=True, hide_input_in_errors=True
    )

    var_dir: Path = Field(
        Path("var"), description="Folder of local state: databases, logs, the local bucket"
    )
    dataset: str = Field(
        "german_credit",
        description="Data set that the stack serves: a folder in `data/`, or a path to a "
        "definition (docs/bring-your-own-data.md)",
    )
    data: str = Field(
        "", description="Training data: path or gs:// address of a CSV; by default DATASET's own"
    )
    labels: Literal["meaning", "file"] = Field(
        "meaning",
        description="What the page and reasons show of a recorded value first: what it means, or "
        "the word of the file",
    )
    training_snapshot: str = Field(
        "latest",
        description="Accepted clients that are added to DATA for training: those of the "
        "latest snapshot of `make training-data`, if there is one (`latest`), "
        "those of the snapshot with this hash, or `none`",
    )
    mlflow_tracking_uri: str = Field(
        "http://127.0.0.1:5051", description="Address of the MLflow server"
    )
    prefect_api_url: str = Field(
        "http://127.0.0.1:4200/api", description="Address of the Prefect API"
    )
    prefect_api_auth_string: SecretStr = Field(
        SecretStr(""),
        description="Login for the Prefect API, USER:PASSWORD; generated at the first start",
    )
    decision_log: str = Field(
        "sqlite:///var/decisions.db",
        description="Address of the decision log: sqlite:///PATH or "
        "mongodb://USER:PASSWORD@HOST/DB",
    )
    decision_log_flush_ms: float = Field(
        0,
        ge=0,
        le=1000,
        description="Longest time, in milliseconds, that SQLite may delay writing the "
        "decision on a single client to disk. 0: it is on disk before it is "
        "answered. 100 is faster, but a power cut (not a crash) "
        "may lose the decisions of that time",
    )
    bucket: str = Field(
        "var/bucket",
        description="Where reports and large files are stored: a folder or gs://BUCKET/PREFIX",
    )
    model_name: str = Field("credit-risk", description="Name of the registered model in MLflow")
    follow_alias: bool = Field(
        False,
        description="Whether anybody who can reach MLflow may change which version decides, "
        "by moving the alias `production` there (not to a version that failed "
        "its gate); if not, only `make approve` and `make rollback` do",
    )

    host: str = Field(
        "127.0.0.1",
        description="Address that services with a login listen on: MLflow, Prefect and, where "
        "callers are identified (docs/access.md), the Risk-O-Meter and the reports; all "
        "others listen on this machine only",
    )
    bind_address: str = Field(
        "127.0.0.1",
        description="Address that a service listens on; set for each service by `make run` "
        "and in containers",
    )
    mlflow_port: int = Field(5051, ge=1, le=65535, description="Port of the MLflow server")
    prefect_port: int = Field(4200, ge=1, le=65535, description="Port of the Prefect server")
    riskometer_port: int = Field(9696, ge=1, le=65535, description="Port of the Risk-O-Meter")
    prometheus_port: int = Field(9091, ge=1, le=65535, description="Port of Prometheus")
    alertmanager_port: int = Field(9093, ge=1, le=65535, description="Port of the Alertmanager")
    exporter_port: int = Field(8877, ge=1, le=65535, description="Port of the drift exporter")
    grafana_port: int = Field(3000, ge=1, le=65535, description="Port of Grafana (compose only)")

    timezone: str = Field(
        "UTC", description="Time zone of the training schedule (every Sunday at 23:00)"
    )
    n_iter: int = Field(
        30, ge=1, le=1000, description="Number of candidates that a training run tries"
    )

    riskometer_processes: int = Field(
        2, ge=1, description="Number of worker processes of the Risk-O-Meter"
    )
    riskometer_threads: int = Field(
        8, ge=1, description="Number of threads per worker that answer requests; as many more score"
    )
    riskometer_uploads: int = Field(
        32, ge=1, description="Most uploads of more than 600 kB that a worker receives at a time"
    )
    max_upload_mb: int = Field(
        200, ge=1, description="Largest request body that is accepted, in MB (10^6 bytes)"
    )
    allowed_hosts: str = Field(
        "localhost,127.0.0.1,::1,risk-o-meter",
        description="Host names that the Risk-O-Meter, the reports and MLflow answer to, "
        "besides HOST's own, separated by commas (Host and Origin are checked); `own-addresses` "
        "stands for the machine's own addresses, though not for MLflow",
    )
    api_keys: SecretStr = Field(
        SecretStr(""),
        description="API keys, as printed by `make api-key NAME=...`: NAME:SHA256:LAST-DAY, "
        "separated by commas. With this, USER_HEADER or an issuer set, everything except the "
        "probes and the API description requires a key or a user",
    )
    user_header: str = Field(
        "",
        pattern="^[A-Za-z0-9-]*$",
        description="Header in which a reverse proxy names the user, such as "
        "X-Forwarded-User; empty: users are asked for a name",
    )
    trusted_proxies: str = Field(
        "",
        validate_default=True,
        description="Addresses and networks (such as 10.0.0.0/24) of the proxies whose "
        "USER_HEADER is trusted, separated by commas; required with USER_HEADER",
    )
    groups_header: str = Field(
        "",
        pattern="^[A-Za-z0-9-]*$",
        description="Header in which the same proxies list the user's groups, separated by "
        "commas, such as X-Forwarded-Groups",
    )
    oidc_issuer: str = Field(
        "",
        pattern=_ISSUER,
        description="OpenID Connect provider whose ID tokens identify users, such as "
        "https://accounts.example.com (without TLS only on this machine): "
        "`Authorization: Bearer TOKEN`",
    )
    oidc_audience: str = Field(
        "", description="Client id that the tokens of OIDC_ISSUER are made for; required with it"
    )
    iap_audience: str = Field(
        "",
        description="Audience of the assertions of Google's IAP, which then identify users, such "
        "as /projects/NUMBER/locations/REGION/services/NAME",
    )
    oidc_name_claim: str = Field("email", description="Claim of a token that names the user")
    oidc_groups_claim: str = Field("groups", description="Claim that lists the user's groups")
    oidc_branch_claim: str = Field("branch", description="Claim that names the user's branch")
    roles_file: Annotated[Path | None, _UNLESS_EMPTY] = Field(
        None,
        description="TOML file that says who has which role; required with an issuer or IAP",
    )
    four_eyes: Annotated[bool | None, _UNLESS_EMPTY] = Field(
        None,
        description="Whether approving a version takes somebody other than who trained or "
        "proposed it; when not set: where OIDC_ISSUER or IAP_AUDIENCE is",
    )
    approvals_port: int = Field(9697, ge=1, le=65535, description="Port of the approvals service")
    approvals_url: str = Field(
        "http://127.0.0.1:9697",
        description="Address of the approvals service, asked by `make approve` where users sign in",
    )
    scrape_key_file: Path = Field(
        Path("var/secrets/scrape-key"),
        description="File with the key that Prometheus reads `/metrics` with, where it needs one",
    )
    max_explained_rows: int = Field(
        10_000, ge=1, description="Most rows of a request that asks for reasons"
    )
    model_poll_seconds: float = Field(
        10,
        gt=0,
        le=30,
        description="How often each worker checks for a new Production version, in seconds",
    )

    drift_window_hours: float = Field(
        24, gt=0, description="Hours of decisions that drift is computed on, the drift window"
    )
    drift_window_rows: int = Field(
        1000,
        ge=1,
        description="Fallback window size, in decisions, when the last DRIFT_WINDOW_HOURS "
        "hold fewer than DRIFT_MIN_ROWS",
    )
    drift_evidently_rows: int = Field(
        5000, ge=100, description="Most of the window's latest decisions that Evidently shows"
    )
    drift_min_rows: int = Field(100, ge=2, description="Fewest decisions that drift is computed on")
    outcome_maturity_months: int = Field(
        12,
        ge=1,
        le=120,
        description="Age, in months, at which a vintage is mature, and so is assessed and "
        "used for training",
    )
    vintage_months: int = Field(
        36, ge=1, le=240, description="Months of vintages that are assessed, up to the present one"
    )
    exporter_interval_seconds: float = Field(
        15, gt=0, description="How often the exporter checks for new decisions, in seconds"
    )
    report_keep_days: float = Field(
        90, gt=0, description="How long reports are kept, in the bucket and in the log, in days"
    )
    refresh_keep_days: float = Field(
        7,
        gt=0,
        description="How long the log keeps the figures of each exporter refresh, in days; a "
        "refresh takes 10 KB, and there is one per interval with new decisions",
    )
    run_keep_days: float = Field(
        90,
        ge=1,
        description="How long Prefect keeps finished runs and their logs, in days; its "
        "events are kept for a week",
    )

    portfolio_folder: str = Field(
        "var/portfolios",
        description="Folder or gs:// address below which the flow batch-score reads and writes; "
        "`make batch-score` takes any",
    )
    dask_scheduler: str = Field(
        "",
        pattern="^(tcp://[A-Za-z0-9.:-]+|)$",
        description="Dask scheduler on whose workers portfolios are scored and models are tuned "
        "and evaluated, such as tcp://dask-scheduler:8786; empty: all processors of this machine",
    )

    alert_webhook_url: SecretStr = Field(
        SecretStr(""), description="Address that alerts are posted to as JSON; empty: no webhook"
    )
    alert_mail_to: str = Field("", description="Address that alerts are mailed to; empty: no mail")
    alert_mail_from: str = Field(
        "", description="Sender address of alert mails; empty: ALERT_MAIL_TO"
    )
    smtp_host: str = Field("", description="Mail server for alerts, such as smtp.example.com:587")
    smtp_tls: Literal["true", "false"] = Field(
        "true", description="Whether the mail server must use TLS"
    )
    smtp_user: str = Field("", description="User name on the mail server, if it requires a login")
    smtp_password: SecretStr = Field(
        SecretStr(""), description="Password on the mail server, if it requires a login"
    )
    retrain_on_report: bool = Field(
        False,
        description="Whether a report starts a training run when drift or outcomes call for "
        "one; a person still approves the new version",
    )
    retrain_cooldown_hours: float = Field(
        24,
        ge=0,
        description="Least time between the starts of two training runs that reports start, "
        "in hours",
    )

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

        if info.data.get("user_header") and not split_words(value):
            raise ValueError(
                "USER_HEADER is believed from these alone: name the proxy's address or network"
            )

        return value

    @model_validator(mode="after")
    def _one_identity(self) -> Self:
        ways = {
            "OIDC_ISSUER": self.oidc_issuer,
            "IAP_AUDIENCE": self.iap_audience,
            "USER_HEADER": self.user_header,
        }
        chosen = [name for name, value in ways.items() if value]
        if not chosen and (self.roles_file or self.oidc_audience or self.groups_header):
            ways_in = "OIDC_ISSUER, IAP_AUDIENCE or USER_HEADER"
            raise ValueError(f"ROLES_FILE, OIDC_AUDIENCE and GROUPS_HEADER need {ways_in}")
        if len(chosen) > 1:
            raise ValueError(f"{' and '.join(chosen)} are set: users are identified in one way")
        if self.oidc_issuer and not self.oidc_audience:
            raise ValueError("OIDC_ISSUER needs OIDC_AUDIENCE, the client id of its tokens")
        if self.has_tokens and self.roles_file is None:
            raise ValueError(f"{chosen[0]} needs ROLES_FILE, which says who may do what")
        if self.needs_two and self.follow_alias:
            raise ValueError("FOLLOW_ALIAS would have one person approve, which FOUR_EYES excludes")
        if self.needs_two and not self.has_tokens:
            raise ValueError("FOUR_EYES needs OIDC_ISSUER or IAP_AUDIENCE, to tell people apart")
        return self

    @property
    def has_tokens(self) -> bool:
        """Whether a signed token identifies users."""
        return bool(self.oidc_issuer or self.iap_audience)

    @property
    def needs_two(self) -> bool:
        """Whether it takes two people to approve a version."""
        return self.has_tokens if self.four_eyes is None else self.four_eyes


def split_words(text: str) -> list[str]:
    """Return the items of a setting that is a list, separated by commas."""
    return [word for word in (part.strip() for part in text.split(",")) if word]


def networks(text: str) -> tuple[Network, ...]:
    """Return the networks of a setting that is a list of addresses and networks.

    Raises
    ------
    ValueError
        When an item is neither.
    """
    return tuple(ip_network(word) for word in split_words(text))


def read_settings() -> Settings:
    """Return the settings, or end the process with one line for each fault in them."""
    try:
        return Settings()
    except ValidationError as error:
        sys.exit("\n".join(faults(error)))


def faults(error: ValidationError) -> list[str]:
    """Return what is wrong with settings, a line for each fault, without the values of secrets."""
    lines = []
    for fault in error.errors(include_url=False):
        if not fault["loc"]:  # of several together
            lines.append(fault["msg"].removeprefix("Value error, "))
            continue
        name = str(fault["loc"][0])
        is_secret = isinstance(Settings.model_fields[name].default, SecretStr)
        value = "" if is_secret else f"={fault['input']}"
        lines.append(f"{name.upper()}{value}: {fault['msg']}")

    return lines


def describe() -> str:
    """Return the table of settings as Markdown: variable, default, meaning."""
    lines = ["| variable | default | meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = "" if field.default is None else field.default
        lines.append(f"| `{name.upper()}` | `{default}` | {field.description} |")

    return "\n".join(lines)
