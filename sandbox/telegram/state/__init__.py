"""What is kept, who waits for a change of it, and questions that are open."""
