"""Web Push: phones whose page is closed ring too."""
