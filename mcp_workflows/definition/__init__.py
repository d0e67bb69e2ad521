"""What a workflow says: files are read, checked, and compiled into ``program.Definition``. ``loader`` is the way in."""
