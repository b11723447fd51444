"""What makes Atlas run somewhere and keeps it running: Terraform, and the commands of operators."""
