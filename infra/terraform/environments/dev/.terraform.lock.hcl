# The version in use. Its checksums come from the registry: the first `terraform init` adds them; commit the file then.

provider "registry.terraform.io/hashicorp/google" {
  version     = "8.7.0"
  constraints = "~> 8.0"
}
