"""Beyond one machine: Ray, Hugging Face Spaces, containers."""
