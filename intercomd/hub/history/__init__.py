"""What is kept of calls: their records, as pages and as sheets, and for how long."""
