"""The hub: Socket.IO server, records, administration."""
