"""What may be asked of a run and sent to it: what it waits for, and which signals, answers and corrections it takes.

Pure, so that the same rules hold for a server and for a test of a definition.
"""
