"""What a model sees of a run: the run object, its parts, what to do next, and refusals. Nothing here knows of the protocol."""
