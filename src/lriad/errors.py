"""The one exception that reaches a user."""


class LriadError(Exception):
    """A problem that the user can act on.

    Its text is one line that says what is wrong, where, and what to do. The command line prints that line without
    a traceback; everything else that is raised is a defect of the program.
    """
