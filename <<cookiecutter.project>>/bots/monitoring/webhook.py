"""Tells a chat of an alarm: a message as Slack takes it, which Mattermost, Discord (`/slack`) and others take too.

The address is a secret, because whoever knows it may write there: it never stands in a log, an error or a page.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Final, Protocol
from urllib.parse import urlsplit

from bots.log import make_visible
from bots.network import explain_refusal, is_own
from bots.observations import TroubleState
from bots.render.escape import check_address
from bots.render.monitoring_issue import render_plain_words
from bots.retry import RetriesExhausted, Retry, TemporaryFailure, Unreachable

VARIABLE: Final = "MONITORING_WEBHOOK"
TIMEOUT: Final = 15
LONGEST: Final = 3_000
"""Slack cuts a message at 4,000 characters."""


class Post(Protocol):
    """Sends JSON to an address and returns the status of the answer; raises `TemporaryFailure` without one."""

    def __call__(self, url: str, content: Mapping[str, str], /) -> int:
        """Send it."""


def build_message(project: str, state: TroubleState, link: str | None) -> dict[str, str]:
    """Build the message about a trouble: the issue's own words, and the address of the issue."""
    words = f"{make_visible(project, 100)}: {make_visible(render_plain_words(state), LONGEST // 2)}"
    text = _escape(words)[:LONGEST]
    return {"text": f"{text}\n<{check_address(link)}|More in the issue>" if link else text}


def tell_webhook(
    url: str | None, content: Mapping[str, str], *, retry: Retry, post: Post | None = None
) -> str | None:
    """Send a message; None where it arrived, else why not, in words that do not have the address.

    Without an address there is nobody to tell, which is no failure.
    """
    if not url:
        return None
    send = post_json if post is None else post
    problem = explain_address(url)
    if problem is not None:
        return problem

    def step() -> int:
        status = send(url, content)
        if status in (408, 429) or status >= 500:
            raise TemporaryFailure(f"the webhook answered {status}")
        return status

    try:
        status = retry.call("webhook", step)
    except RetriesExhausted as error:
        return f"the webhook was not told: {error}"
    if status >= 300:
        return f"the webhook was not told: it answered {status}; look whether {VARIABLE} still holds"
    return None


def explain_address(url: str) -> str | None:
    """Explain why an address cannot be a webhook; None where it can. Only this machine is spoken to without TLS."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return f"the webhook was not told: {VARIABLE} is no address"
    local = parts.scheme == "http" and host in ("127.0.0.1", "localhost")
    if not host or not (parts.scheme == "https" or local) or re.search(r"\s", url):
        return f"the webhook was not told: {VARIABLE} is no address that begins with https://"
    return None


def post_json(url: str, content: Mapping[str, str], /) -> int:
    """Send JSON, without following where the answer leads; raises `TemporaryFailure` without an answer, `Unreachable`
    where there will be none."""
    import requests

    try:
        with requests.post(
            url,
            json=dict(content),
            timeout=TIMEOUT,
            allow_redirects=False,
            stream=True,
            proxies={"no_proxy": "*"} if is_own(url) else None,
        ) as answer:
            return answer.status_code
    except requests.RequestException as error:
        if refusal := explain_refusal(error):
            raise Unreachable(refusal) from None
        # The error's own words have the address.
        raise TemporaryFailure(f"the webhook could not be reached ({type(error).__name__})") from None


def find_webhook(environ: Mapping[str, str] | None = None) -> str | None:
    """Find the webhook's address in the environment; None where none is set."""
    return (os.environ if environ is None else environ).get(VARIABLE) or None


def _escape(words: str) -> str:
    """Escape what Slack reads: with it, a mention or a link is only text."""
    return words.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("@", "@\u200b")
