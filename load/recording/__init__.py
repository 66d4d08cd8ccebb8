"""What recording tasks costs."""
