"""Faithful fakes of the ports, one module per port; they pass the same contract tests as the adapters."""
