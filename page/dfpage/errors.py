"""What the page refuses, each with one line for the person in front of it."""

from dfcontract.errors import DfserveError


class PageError(DfserveError):
    """Base of the page's own errors."""


class UploadRefused(PageError):
    """A recording that is too large or too long to be taken in."""


class PageInputError(PageError):
    """A request or an option that can't be used as given."""
