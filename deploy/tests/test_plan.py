"""How Terraform is called: what is applied is what was approved, and images stay until others come.

Terraform itself runs, on a state in a bucket, with an environment that needs no cloud.
"""

import json
import os
import shutil
import subprocess
import urllib.request

import pytest

from tests.support.processes import answers, free_port, need, running, wait_for
from tools.paths import ROOT

ENVIRONMENT = """
terraform {
  backend "gcs" { prefix = "credit-risk" }
}
variable "images" {
  type    = map(string)
  default = {}
}
variable "memory" {
  type    = string
  default = "1Gi"
}
resource "terraform_data" "service" {
  for_each = var.images
  input    = "${each.value} ${var.memory}"
}
output "images" { value = var.images }
"""
OLD, NEW = ({"mlflow": f"registry/mlflow@sha256:{digit * 64}"} for digit in "ab")


class Environment:
    """An environment `dev` in a folder of its own, with the scripts of the jobs."""

    def __init__(self, folder, buckets):
        shutil.copytree(ROOT / "deploy/scripts", folder / "deploy/scripts")
        self.scripts = folder / "deploy/scripts"
        self.folder = folder / "deploy/terraform/envs/dev"
        self.folder.mkdir(parents=True)
        (self.folder / "main.tf").write_text(ENVIRONMENT)
        self.access = {
            "GOOGLE_BACKEND_STORAGE_CUSTOM_ENDPOINT": buckets,
            "GOOGLE_OAUTH_ACCESS_TOKEN": "none",
            "STATE_BUCKET": "state",
        }

    def run(self, script, **variables):
        return subprocess.run(
            [self.scripts / script, "dev"],
            env=os.environ | self.access | variables,
            text=True,
            capture_output=True,
            timeout=60,
        )

    def plan(self, **variables):
        """Plan, and return the digest."""
        said = self.run("plan.sh", **variables)
        assert said.returncode == 0, said.stderr
        name, _, digest = said.stdout.strip().partition("=")
        assert name == "sha256"
        return digest

    def apply(self, approved):
        return self.run("apply.sh", APPROVED=approved)

    def images(self):
        return json.loads((self.folder / "images.auto.tfvars.json").read_text())["images"]


@pytest.fixture
def environment(tmp_path):
    need("terraform", "make deploy-tools builds it")
    program = need("fake-gcs-server", "tools/install-parts.sh builds it")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [program, "-scheme=http", "-host=127.0.0.1", f"-port={port}", "-backend=memory"]
    # Terraform reads objects at BUCKET/OBJECT, which the server takes for its public host alone.
    command += [f"-external-url={url}", f"-public-host=127.0.0.1:{port}"]
    with running(command, tmp_path / "log"):
        buckets = f"{url}/storage/v1/b"
        wait_for(lambda: answers(f"{buckets}?project=local"), what="fake-gcs-server")
        headers = {"Content-Type": "application/json"}
        new = urllib.request.Request(buckets, b'{"name": "state"}', headers)
        urllib.request.urlopen(new, timeout=10).close()
        yield Environment(tmp_path, buckets)


def test_same_plan_is_applied_and_its_images_stay(environment):
    shown = environment.plan(IMAGES=json.dumps(OLD), LOCK="false")
    assert OLD["mlflow"] in (environment.folder / "plan.txt").read_text()
    assert environment.plan(IMAGES=json.dumps(OLD)) == shown

    said = environment.run("compare.sh", APPROVED=shown)
    assert said.returncode == 0, said.stderr
    said = environment.apply(shown)
    assert said.returncode == 0, said.stderr
    environment.plan()  # of a pull request, which builds none
    assert environment.images() == OLD
    assert "No changes" in (environment.folder / "plan.txt").read_text()


def test_another_plan_than_the_approved_one_is_not_applied(environment):
    shown = environment.plan(IMAGES=json.dumps(OLD))
    environment.plan(IMAGES=json.dumps(NEW))
    for said in (environment.run("compare.sh", APPROVED=shown), environment.apply(shown)):
        assert said.returncode == 1
        assert "another plan than the one that was approved" in said.stderr

    environment.plan()
    assert environment.images() == {}  # nothing was applied


def test_plan_that_the_state_has_overtaken_is_not_applied(environment):
    first = environment.plan(IMAGES=json.dumps(OLD))
    saved = (environment.folder / "tfplan").read_bytes()
    assert environment.apply(first).returncode == 0

    (environment.folder / "tfplan").write_bytes(saved)
    said = environment.apply(first)
    assert said.returncode != 0
    assert "Saved plan is stale" in said.stderr


def test_what_is_no_json_is_refused_before_anything_is_planned(environment):
    said = environment.run("plan.sh", IMAGES="mlflow")
    assert said.returncode != 0
    assert not (environment.folder / "tfplan").exists()


def test_without_an_approval_nothing_is_applied(environment):
    environment.plan(IMAGES=json.dumps(OLD))
    said = environment.run("apply.sh", APPROVED="")
    assert said.returncode != 0
    assert "APPROVED" in said.stderr
