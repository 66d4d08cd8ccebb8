"""What a long history of tasks costs."""
