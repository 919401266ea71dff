# Our alerts (prometheus/rules/alerts.yml), evaluated by Managed Service for Prometheus. alerts.json is made from them by
# alert_policies.py beside this file, and a test holds the two together.

locals {
  alerts = jsondecode(file("${path.module}/alerts.json"))
}

resource "google_monitoring_notification_channel" "email" {
  project      = var.project_id
  display_name = "Credit risk: on call"
  type         = "email"
  labels       = { email_address = var.email }
}

resource "google_monitoring_alert_policy" "alert" {
  for_each = local.alerts

  project      = var.project_id
  display_name = each.key
  combiner     = "OR"
  severity     = each.value.severity
  enabled      = var.enabled

  notification_channels = [google_monitoring_notification_channel.email.name]

  conditions {
    display_name = each.value.summary
    condition_prometheus_query_language {
      query               = each.value.query
      duration            = "${each.value.for_seconds}s"
      evaluation_interval = "30s"
      alert_rule          = each.key
      rule_group          = each.value.group

      # The figures come with the first scrape, after the policy.
      disable_metric_validation = true
    }
  }

  alert_strategy {
    auto_close = "1800s"
  }

  documentation {
    mime_type = "text/markdown"
    content   = "${each.value.summary}\n\n${each.value.description}\n\n[What to do](${var.runbook}#${each.value.section})"
  }
}
