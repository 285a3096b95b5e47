"""Boards: pin maps from `hw/boards/` and the drawing of their wiring."""
