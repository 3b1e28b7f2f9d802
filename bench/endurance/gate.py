"""A gate before a registry that refuses requests: 429, as a registry that is asked too much says."""

import asyncio
import random
import socket
import threading
import time

PIECE = 256 * 1024
REFUSAL = b'{"errors": [{"code": "TOOMANYREQUESTS", "message": "too many requests"}]}'


class Gate:
    """Listens on a free loopback port before `upstream` (HOST:PORT); a context manager.

    `slots`: as many requests at once, and no more. `refused_part`: of all requests, by chance, always the same.
    `retry_after`: seconds, said with each refusal. Requests of one connection come one after the other (HTTP/1.1).
    """

    def __init__(self, upstream, slots=None, refused_part=0, retry_after=None):
        self.upstream = upstream.rsplit(":", 1)
        self.slots, self.refused_part, self.retry_after = slots, refused_part, retry_after
        self.requests = self.refused = self.busy = 0
        self._busy_since = []  # (when, how many requests from then on)
        self._chance = random.Random(429)
        self._connections = set()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    def __enter__(self):
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def settled(self):
        """How many requests were served at once, on average over the second half of the time."""
        changes = list(self._busy_since)
        if not changes:
            return 0
        begin, end = changes[0][0], changes[-1][0]
        middle = (begin + end) / 2
        spans = zip(changes, [when for when, _ in changes[1:]] + [end])
        return sum(busy * max(until - max(since, middle), 0) for (since, busy), until in spans) / ((end - middle) or 1)

    def counted(self):
        """For the record."""
        return {"requests": self.requests, "refused": self.refused, "settled": self.settled()}

    async def _serve(self):
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        listener = socket.create_server(("127.0.0.1", 0))
        # Connections inherit it. What waits in a large buffer would count as served long before the client has it.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, PIECE)
        server = await asyncio.start_server(self._accept, sock=listener, limit=PIECE)
        self.address = "127.0.0.1:%d" % server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _accept(self, client, to_client):
        self._connections.add(asyncio.create_task(self._connection(client, to_client)))

    async def _connection(self, client, to_client):
        to_registry = None
        try:
            registry, to_registry = await asyncio.open_connection(*self.upstream, limit=PIECE)
            while await self._exchange(client, to_client, registry, to_registry):
                pass
        except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # a side is gone, or speaks no HTTP/1.1 (hoist and others try TLS first); the other learns it now
        finally:
            for writer in (to_client, to_registry):
                if writer:
                    writer.close()

    async def _exchange(self, client, to_client, registry, to_registry):
        """One request and its answer; whether there may be another."""
        head = Head(await client.readuntil(b"\r\n\r\n"))
        self.requests += 1
        if self._refuses():
            self.refused += 1
            await head.body(client, None)
            after = b"" if self.retry_after is None else b"Retry-After: %d\r\n" % self.retry_after
            body = b"" if head.method == b"HEAD" else REFUSAL
            to_client.write(b"HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\n%sContent-Length: %d\r\n\r\n"
                            % (after, len(REFUSAL)) + body)
            await to_client.drain()
            return True
        self._now_busy(+1)
        try:
            to_registry.write(head.text)
            asking = asyncio.create_task(head.body(client, to_registry))
            try:
                answer = Head(await registry.readuntil(b"\r\n\r\n"))
                to_client.write(answer.text)
                await answer.body(registry, to_client, to=head.method)
            finally:
                # The registry may answer before it was told all; then it will not listen to the rest.
                whole = asking.done()
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)
            return whole and answer.fields.get(b"connection") != b"close"
        finally:
            self._now_busy(-1)

    def _refuses(self):
        return (self.slots is not None and self.busy >= self.slots) or self._chance.random() < self.refused_part

    def _now_busy(self, change):
        self.busy += change
        self._busy_since.append((time.monotonic(), self.busy))


class Head:
    """The head of a request or of an answer (RFC 9112), and how its body goes on."""

    def __init__(self, text):
        self.text = text
        first, *fields = text.split(b"\r\n")
        self.method, self.status, *_ = first.split(b" ") + [b""]
        self.fields = {name.strip().lower(): value.strip().lower()
                       for name, _, value in (field.partition(b":") for field in fields)}

    async def body(self, reader, writer, to=b""):
        """Passes the body on, or reads it for nothing. `to`: the method that this is the answer to."""
        async def forward(piece):
            if writer:
                writer.write(piece)
                await writer.drain()

        async def exactly(length):
            while length:
                piece = await reader.read(min(length, PIECE))
                if not piece:
                    raise asyncio.IncompleteReadError(b"", length)
                await forward(piece)
                length -= len(piece)

        async def line():
            text = await reader.readuntil(b"\r\n")
            await forward(text)
            return text

        if to == b"HEAD" or (to and self.status in (b"204", b"304")):
            length = 0
        elif self.fields.get(b"transfer-encoding") == b"chunked":
            while size := int((await line()).split(b";")[0], 16):
                await exactly(size + 2)
            while await line() != b"\r\n":
                pass
            return
        else:
            length = int(self.fields.get(b"content-length", 0))
        await exactly(length)
        await forward(b"")
