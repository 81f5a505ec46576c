"""What is asked of the machine and its operating system: processes, devices, locks, signals."""
