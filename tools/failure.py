"""The one exception that the command lines of `tools` turn into a line on the console."""


class Failed(Exception):
    """The request cannot be carried out; the message is one line for the console."""
