"""The one exception that users of the library are meant to read."""


class AlmPromptError(ValueError):
    """Bad input, met at the door: one line that names the thing, the value and the way out."""
