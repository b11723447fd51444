"""Terraform of the platform; Python here only checks and documents it (`make terraform-check`)."""
