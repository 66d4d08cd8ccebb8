"""What a simulated suite lives in: time, chance, processes, a network and disks."""
