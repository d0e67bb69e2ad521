"""The tools: what is published, what each does, and how its answer is put."""
