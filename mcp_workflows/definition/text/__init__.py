"""Reading a definition: YAML 1.2 or JSON as a tree in which every key and value knows its line and column."""
