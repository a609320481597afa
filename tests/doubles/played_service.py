"""A service that only counts: it answers each POST after so many seconds, or never (`inf`), and is always ready.

`python played_service.py PORT SECONDS`. GET /seen tells what it was asked, as JSON: how often, and the last one.
"""

from __future__ import annotations

import asyncio
import json
import math
import sys


class Played:
    """What it was asked so far."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._requests = 0
        self._last: dict[str, str] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                body = await _read_body(reader, head.lower())
                said = b"{}"
                if head.startswith("GET /seen"):
                    said = json.dumps({"requests": self._requests, **self._last}).encode()
                elif head.startswith("POST"):
                    self._requests += 1
                    self._last = {"head": head, "body": body.decode("latin-1")}
                    await asyncio.sleep(3600 if math.isinf(self._seconds) else self._seconds)
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(said), said))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


async def _read_body(reader: asyncio.StreamReader, head: str) -> bytes:
    if "transfer-encoding: chunked" in head:
        body = b""
        while size := int(await reader.readuntil(b"\r\n"), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readexactly(2)
        return body
    sizes = [line.partition(":")[2] for line in head.split("\r\n") if line.startswith("content-length:")]
    return await reader.readexactly(int(sizes[0])) if sizes else b""


async def main() -> None:
    """Serve until the process is ended."""
    played = Played(float(sys.argv[2]))
    server = await asyncio.start_server(played.serve, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
