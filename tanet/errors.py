"""Errors that are the user's to mend."""


class UserError(ValueError):
    """An error that the user can mend; its message is one line that says what to do.

    The command prints that line alone. Any other exception is a fault of tanet's and keeps its traceback.
    """
