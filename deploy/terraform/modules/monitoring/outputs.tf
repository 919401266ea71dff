output "channel" {
  description = "The channel that alerts go to, for what else has something to say."
  value       = google_monitoring_notification_channel.email.name
}
