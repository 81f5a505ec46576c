"""What cells leave: records, tables, leases, and what trackers are told."""
