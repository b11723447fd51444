"""What happened, and its way to the webhook."""
