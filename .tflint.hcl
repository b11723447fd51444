# For those who have tflint (`tflint --recursive --config "$PWD/.tflint.hcl"` in infra/terraform); `make terraform-check` does not need it.
config {
  call_module_type = "local"
}

plugin "terraform" {
  enabled = true
  preset  = "all"
}

# Files are named by purpose (style of cloud-foundation-fabric), not main, variables and outputs alone.
rule "terraform_standard_module_structure" {
  enabled = false
}
