"""The station daemon: composition root, interpreter, control socket."""
