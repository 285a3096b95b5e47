"""What people read and hear, in English and Chinese."""
