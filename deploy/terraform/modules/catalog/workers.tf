# Workers ask for work and have no address; jobs run once, when somebody says so.

locals {
  pools = {
    training-worker = {
      target = "training-worker"
      args   = local.worker_args["training"]
      cpu    = 2
      memory = "2Gi"
      env = merge(local.bucket, local.state, local.mlflow, local.prefect, local.runs, {
        MLFLOW_TRACKING_USERNAME = "training"
      })
      secrets = merge(local.mlflow_logins["training"], {
        DECISION_LOG            = "decision-log-training"
        PREFECT_API_AUTH_STRING = "prefect-login"
      })
      bucket = "write"
    }

    reporting-worker = {
      target = "reporting-worker"
      args   = local.worker_args["reporting"]
      cpu    = 1
      memory = "2Gi"
      env    = merge(local.bucket, local.state, local.mlflow, local.prefect, local.runs, local.serving)
      secrets = merge(local.mlflow_logins["serving"], {
        DECISION_LOG            = "decision-log-reporting"
        PREFECT_API_AUTH_STRING = "prefect-login"
      })
      bucket = "write"
    }

    # A whole book takes all its processors, unless a Dask cluster is named. What it scores is in the data bucket.
    scoring-worker = {
      target = "scoring-worker"
      args   = local.worker_args["scoring"]
      cpu    = 4
      memory = "8Gi"
      env = merge(local.bucket, local.state, local.mlflow, local.prefect, local.runs, local.serving, {
        PORTFOLIO_FOLDER = "gs://${var.buckets.data}/portfolios"
      })
      secrets = merge(local.mlflow_logins["serving"], {
        DECISION_LOG            = "decision-log-scoring"
        PREFECT_API_AUTH_STRING = "prefect-login"
      })
      bucket = "write"
    }
  }

  jobs = {
    # The indexes, which no service may make, and the collection of approvals, from which on only the approver's count.
    decision-log-setup = {
      account  = "decision-log-setup"
      target   = "training-worker"
      args     = ["python", "-c", file("${path.module}/decision_log_setup.py")]
      memory   = "1Gi"
      env      = local.bucket
      secrets  = { DECISION_LOG = "decision-log-admin" }
      database = ""
      bucket   = "none"
    }

    # Both work pools, the deployments with their schedules, the rule for killed runs.
    deployments = {
      account  = "deployments"
      target   = "training-worker"
      args     = ["python", "-m", "model_orchestration_and_tracking.deploy"]
      memory   = "1Gi"
      env      = local.prefect
      secrets  = { PREFECT_API_AUTH_STRING = "prefect-login" }
      database = ""
      bucket   = "none"
    }

    # With an empty registry, trains version 1; later it does nothing. It has the approver's credentials and would use them, were
    # it not told that people are known here, so that two of them approve.
    first-model = {
      account = "first-model"
      target  = "training-worker"
      args    = ["python", "-m", "model_orchestration_and_tracking.bootstrap"]
      memory  = "1Gi"
      env = merge(local.bucket, local.state, local.mlflow, local.prefect, local.identity, {
        IAP_AUDIENCE             = local.audiences["approvals"]
        MLFLOW_TRACKING_USERNAME = "approver"
      })
      secrets = merge(local.mlflow_logins["approver"], {
        DECISION_LOG            = "decision-log-approver"
        PREFECT_API_AUTH_STRING = "prefect-login"
        roles                   = "roles"
      })
      database = ""
      bucket   = "none"
    }

    # Reads the whole decision log, and fails at the first record that is missing or was changed.
    verify-log = {
      account  = "verify-log"
      target   = "training-worker"
      args     = ["python", "-m", "credit_risk", "verify"]
      memory   = "2Gi"
      env      = local.bucket
      secrets  = { DECISION_LOG = "decision-log-training" }
      database = ""
      bucket   = "read"
    }

    # Migrates MLflow's database to the version of the image; nobody may use it meanwhile.
    mlflow-upgrade = {
      account  = "mlflow"
      target   = "mlflow"
      args     = concat(local.mlflow_server_args, ["--upgrade"])
      memory   = "1Gi"
      env      = { MLFLOW_BACKEND_STORE_URI = local.services["mlflow"].env["MLFLOW_BACKEND_STORE_URI"], PGCLIENTENCODING = "utf8" }
      secrets  = {}
      database = "mlflow"
      bucket   = "none"
    }
  }
}
