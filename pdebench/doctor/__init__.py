"""What this machine has, what it lacks, and whether it is quiet enough to be timed on."""
