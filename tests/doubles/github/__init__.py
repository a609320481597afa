"""A stand-in for GitHub that real clients talk to over real HTTP."""

from .faults import Fault
from .page import PageStyle, make_github_style
from .server import TOKEN, GitHubDouble, LoggedRequest
from .state import ACTIONS, Check, Comment, Pull

__all__ = [
    "ACTIONS",
    "TOKEN",
    "Check",
    "Comment",
    "Fault",
    "GitHubDouble",
    "LoggedRequest",
    "PageStyle",
    "Pull",
    "make_github_style",
]
