output "account" {
  description = "Email of the function's own service account."
  value       = google_service_account.main.email
}

output "name" {
  description = "Name of the service."
  value       = google_cloud_run_v2_service.main.name
}
