output "url" {
  description = "Address of the Risk-O-Meter."
  value       = module.stack.urls["risk-o-meter"]
}

output "images" {
  description = "The images that run, by digest."
  value       = var.images
}

output "stack" {
  description = "Addresses, names and what GitHub has to know."
  value       = module.stack
}
