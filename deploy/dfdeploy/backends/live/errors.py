"""What ends a live stream."""

from dfcontract.errors import ErrorCode, coded


class StreamError(Exception):
    """A stream can't go on. The code is for the client's program, the words are for its user.

    Attributes:
        code: one of those that `dfcontract` lists.
    """

    def __init__(self, code: ErrorCode, words: str) -> None:
        super().__init__(coded(code, words))
        self.code = code


def bad_stream(words: str) -> StreamError:
    """A parameter or a chunk that can't be used: the client's own fault."""
    return StreamError(ErrorCode.BAD_STREAM, words)
