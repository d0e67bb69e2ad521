"""The extension ``io.modelcontextprotocol/tasks``: all of it is here, so that an official package can take its place.

Nothing but ``server`` imports this room, and it uses four things of it: ``Tasks.install`` adds the methods and the topic to a
server, ``Tasks.call`` answers the tool of a workflow, ``declares`` says whether a request wants that, and ``CHANGING`` which
methods change a run. A package that speaks the extension takes the place of ``extension``: methods, header, capability, the
frames of notices. What it cannot bring is ``task_object``: what a run is as a task, what it asks and by which keys.
"""
