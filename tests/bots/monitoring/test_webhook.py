"""The webhook: what a chat gets, what keeps it from arriving, and that its address is never said."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from bots.monitoring.webhook import build_message, explain_address, find_webhook, tell_webhook
from bots.observations import Episode, TroubleState
from bots.retry import Retry

SECRET = "T000/B000/very-secret"


@dataclass
class Chat:
    """A server that answers with these statuses, the last one for ever."""

    statuses: list[int] = field(default_factory=lambda: [200])
    got: list[dict[str, str]] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/services/{SECRET}"

    def tell(self, words: str = "It is worse.", url: str | None = None) -> str | None:
        retry = Retry(lambda: 0.0, lambda seconds: None, self.log.append, deadline=60.0, max_tries=3)
        message = build_message("Late flights", make_state(words), "https://github.com/o/r/issues/3")
        return tell_webhook(self.url if url is None else url, message, retry=retry)


@pytest.fixture
def chat() -> Iterator[Chat]:
    made = Chat()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            made.got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            status = made.statuses.pop(0) if len(made.statuses) > 1 else made.statuses[0]
            self.send_response(status)
            self.send_header("Location", "http://127.0.0.1:9/elsewhere")
            self.end_headers()

        def log_message(self, *words: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        made.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield made
        server.shutdown()
        thread.join()
    assert SECRET not in "".join(made.log)


def make_state(words: str) -> TroubleState:
    episode = Episode(trouble="performance", since="2026-11-20", words=words)
    return TroubleState(trouble="performance", standing="alarm", episode=episode, calm_needed=7, page=True)


def test_a_chat_gets_the_words_of_the_issue_and_its_address(chat: Chat) -> None:
    assert chat.tell() is None
    (message,) = chat.got
    assert message["text"] == (
        "Late flights: Production: predictions are worse than reviewed, since 2026-11-20. It is worse.\n"
        "<https://github.com/o/r/issues/3|More in the issue>"
    )


def test_what_a_column_is_called_mentions_nobody_and_makes_no_link(chat: Chat) -> None:
    chat.tell("<!channel> @here <https://evil.example|click> & more" + "x" * 9000)
    text = chat.got[0]["text"]
    assert "<!channel>" not in text
    assert "@here" not in text
    assert "<https://evil" not in text
    assert len(text) < 4_000


def test_a_chat_that_is_away_for_a_moment_is_told_again(chat: Chat) -> None:
    chat.statuses = [503, 429, 200]
    assert chat.tell() is None
    assert len(chat.got) == 3


@pytest.mark.parametrize(
    ("status", "words"), [(404, "it answered 404"), (302, "answered 302"), (500, "answered 500")]
)
def test_what_did_not_arrive_is_told_without_the_address(chat: Chat, status: int, words: str) -> None:
    chat.statuses = [status]
    said = chat.tell()
    assert said is not None
    assert words in said
    assert SECRET not in said


def test_a_chat_that_cannot_be_reached_is_told_without_the_address(chat: Chat) -> None:
    said = chat.tell(url=f"http://127.0.0.1:9/services/{SECRET}")
    assert said is not None
    assert "could not be reached" in said
    assert SECRET not in said + "".join(chat.log)


@pytest.mark.parametrize(
    "url", ["http://example.com/x", "ftp://x", "https://", "https://a b", "://[", "https://x:y"]
)
def test_what_is_no_address_of_a_webhook_is_told_and_not_asked(chat: Chat, url: str) -> None:
    assert "MONITORING_WEBHOOK is no address" in str(chat.tell(url=url))
    assert explain_address("https://hooks.example.com/x") is None


def test_without_an_address_there_is_nobody_to_tell(chat: Chat) -> None:
    assert find_webhook({}) is None
    assert find_webhook({"MONITORING_WEBHOOK": ""}) is None
    assert (
        tell_webhook(None, {"text": "x"}, retry=Retry(lambda: 0.0, lambda s: None, chat.log.append, 1.0))
        is None
    )
