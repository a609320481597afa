"""A stand-in for GitHub that real clients talk to over real HTTP."""

from .faults import Fault
from .page import Looks, like_github
from .server import TOKEN, GitHubDouble, Logged
from .state import ACTIONS, Check, Comment, Pull

__all__ = [
    "ACTIONS",
    "TOKEN",
    "Check",
    "Comment",
    "Fault",
    "GitHubDouble",
    "Logged",
    "Looks",
    "Pull",
    "like_github",
]
