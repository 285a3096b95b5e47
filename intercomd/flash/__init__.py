"""The state partition: what is to be written, files that survive a power cut, and time across restarts."""
