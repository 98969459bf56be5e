"""How pushes and pulls travel as bytes."""
