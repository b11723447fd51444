output "platform" {
  description = "What the deploy step needs (modules/platform, Outputs)."
  value       = module.platform
}
