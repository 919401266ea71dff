"""Write tests/fixtures/google-provider.json: the arguments of what our Terraform uses.

    uv pip install --no-deps --target FOLDER pulumi-gcp==9.37.1
    python deploy/terraform/provider_schema.py FOLDER

The provider itself comes from a registry that tests do not reach. Pulumi's package on PyPI is made
from the same provider (it has what came with 7.45) and has the same arguments. Two things differ:
what may be there several times is in the plural (`envs` for `env`), and beta ones are among them.
"""

import argparse
import ast
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

VERSION = "9.37.1"
FIXTURE = Path(__file__).parents[1] / "tests" / "fixtures" / "google-provider.json"

# Where the package has each resource.
RESOURCES = {
    "google_artifact_registry_repository": "artifactregistry/repository",
    "google_artifact_registry_repository_iam_member": "artifactregistry/repository_iam_member",
    "google_billing_budget": "billing/budget",
    "google_cloud_run_v2_job": "cloudrunv2/job",
    "google_cloud_run_v2_service": "cloudrunv2/service",
    "google_cloud_run_v2_service_iam_member": "cloudrunv2/service_iam_member",
    "google_cloud_run_v2_worker_pool": "cloudrunv2/worker_pool",
    "google_compute_address": "compute/address",
    "google_compute_firewall": "compute/firewall",
    "google_compute_forwarding_rule": "compute/forwarding_rule",
    "google_compute_global_address": "compute/global_address",
    "google_compute_network": "compute/network",
    "google_compute_router": "compute/router",
    "google_compute_router_nat": "compute/router_nat",
    "google_compute_subnetwork": "compute/subnetwork",
    "google_iam_workload_identity_pool": "iam/workload_identity_pool",
    "google_iam_workload_identity_pool_provider": "iam/workload_identity_pool_provider",
    "google_iap_web_cloud_run_service_iam_binding": "iap/web_cloud_run_service_iam_binding",
    "google_monitoring_alert_policy": "monitoring/alert_policy",
    "google_monitoring_notification_channel": "monitoring/notification_channel",
    "google_project_iam_audit_config": "projects/iam_audit_config",
    "google_project_iam_member": "projects/iam_member",
    "google_project_service": "projects/service",
    "google_secret_manager_secret": "secretmanager/secret",
    "google_secret_manager_secret_iam_member": "secretmanager/secret_iam_member",
    "google_service_account": "serviceaccount/account",
    "google_service_account_iam_member": "serviceaccount/iam_member",
    "google_service_networking_connection": "servicenetworking/connection",
    "google_sql_database": "sql/database",
    "google_sql_database_instance": "sql/database_instance",
    "google_sql_provision_script": "sql/provision_script",
    "google_sql_user": "sql/user",
    "google_storage_bucket": "storage/bucket",
    "google_storage_bucket_iam_member": "storage/bucket_iam_member",
    "google_storage_bucket_object": "storage/bucket_object",
    "google_storage_transfer_job": "storage/transfer_job",
}
DATA = {
    "google_project": "organizations/get_project",
    "google_storage_transfer_project_service_account": (
        "storage/get_transfer_project_service_account"
    ),
}

Schema = dict[str, Any]


def schema(package: Path) -> dict[str, Schema]:
    """Return the arguments of what we use: those of a block are a mapping, of others None.

    Parameters
    ----------
    package : Path
        The folder `pulumi_gcp`.
    """
    return {
        "resource": {name: _resource(package / f"{path}.py") for name, path in RESOURCES.items()},
        "data": {name: _data(package / f"{path}.py") for name, path in DATA.items()},
    }


def as_json(made: dict[str, Schema]) -> str:
    """Return the text of the fixture."""
    return json.dumps({"source": f"pulumi-gcp=={VERSION}", **made}, indent=1, sort_keys=True) + "\n"


def _resource(module: Path) -> Schema:
    inputs = _classes(module.with_name("_inputs.py")) if _has_inputs(module) else {}
    own = next(body for name, body in _classes(module).items() if name.endswith("Args"))
    return _arguments(own, inputs)


def _data(module: Path) -> Schema:
    functions = (node for node in _tree(module).body if isinstance(node, ast.FunctionDef))
    function = next(node for node in functions if node.name == module.stem)
    return {argument.arg: None for argument in function.args.args if argument.arg != "opts"}


def _arguments(body: ast.ClassDef, inputs: dict[str, ast.ClassDef]) -> Schema:
    made = next(
        node for node in body.body if isinstance(node, ast.FunctionDef) and node.name == "__init__"
    )
    return {
        argument.arg: _arguments(inputs[inner], inputs) if inner else None
        for argument in (*made.args.args, *made.args.kwonlyargs)
        if argument.arg not in ("self", "__self__")
        for inner in [_block(argument, inputs)]
    }


def _block(argument: ast.arg, inputs: dict[str, ast.ClassDef]) -> str:
    named = (
        re.findall(r"\w+Args\b", ast.unparse(argument.annotation)) if argument.annotation else []
    )
    return next((name for name in named if name in inputs), "")


def _has_inputs(module: Path) -> bool:
    return module.with_name("_inputs.py").exists()


def _tree(module: Path) -> ast.Module:
    return ast.parse(module.read_text())


def _classes(module: Path) -> dict[str, ast.ClassDef]:
    return {node.name: node for node in _nodes(module)}


def _nodes(module: Path) -> Iterator[ast.ClassDef]:
    yield from (node for node in _tree(module).body if isinstance(node, ast.ClassDef))


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="where pulumi-gcp was installed")
    FIXTURE.write_text(as_json(schema(parser.parse_args().folder / "pulumi_gcp")))
    return 0


if __name__ == "__main__":
    sys.exit(main())
