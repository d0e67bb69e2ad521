"""The authoring toolset: checking, testing and saving definitions from within a client."""
