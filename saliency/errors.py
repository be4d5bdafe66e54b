"""The one error for input that a user can put right: one sentence, naming the file or argument and the remedy."""


class InputError(ValueError):
    """Bad input from outside. Scripts print its message and exit with code 2, without a traceback.

    >>> import saliency
    >>> try:
    ...     saliency.Execution("fast")
    ... except saliency.InputError as error:
    ...     print(error)
    engine must be one of auto, dense, incremental, not 'fast'

    Whatever a message quotes of a file, it stays one line that a terminal shows as it is.
    """

    def __init__(self, message: str):
        super().__init__("".join(c if c.isprintable() else " " if c.isspace() else "?" for c in message))
