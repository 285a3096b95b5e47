"""What Prometheus is told of a hub."""
