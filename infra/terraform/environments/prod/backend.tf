terraform {
  # The bucket is made once, by hand (README.md); its name is given with -backend-config=bucket=...
  backend "gcs" {
    prefix = "atlas/prod"
  }
}
