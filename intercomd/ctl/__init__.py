"""intercomctl: the technician's command."""
