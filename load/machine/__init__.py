"""What the machine that measures is busy with."""
