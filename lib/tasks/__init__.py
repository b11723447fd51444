"""Cloud Tasks behind one port: its REST API where imports are budgeted, google-cloud-tasks elsewhere."""
