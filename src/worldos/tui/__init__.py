"""Live pictures in the terminal."""
