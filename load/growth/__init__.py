"""What a task costs as one thing grows, everything else kept the same."""
