"""A relay before a registry that counts requests and bytes. It costs time, so counted runs are not timed."""

import asyncio
import collections
import threading

PIECE = 256 * 1024
TLS_HANDSHAKE = 0x16  # the first byte of a TLS record with a ClientHello (RFC 8446, 5.1)


class Relay:
    """Listens on a free loopback port and passes everything to `upstream` (HOST:PORT); a context manager.

    `requests` counts them by method; `sent` and `received` are all bytes on the wire as the client sees it, heads
    included; `greetings` are connections that began with TLS and so carried no request that the registry understood.
    """

    def __init__(self, upstream):
        self.upstream = upstream.rsplit(":", 1)
        self.requests = collections.Counter()
        self.sent = self.received = self.greetings = 0
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

    def counted(self):
        """For the record."""
        return {"requests": sum(self.requests.values()), "methods": dict(self.requests), "tls_greetings": self.greetings,
                "sent": self.sent, "received": self.received}

    async def _serve(self):
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=PIECE)
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
        answers = None
        try:
            registry, to_registry = await asyncio.open_connection(*self.upstream, limit=PIECE)
            answers = asyncio.create_task(self._answers(registry, to_client))
            questions = asyncio.create_task(self._questions(client, to_registry))
            # The registry may answer and close before the client has said all; the client may say no more and wait.
            await asyncio.wait({answers, questions}, return_when=asyncio.FIRST_COMPLETED)
            if not answers.done():
                await answers
            questions.cancel()
            await asyncio.gather(questions, return_exceptions=True)
            to_registry.close()
        except OSError:
            pass  # either side is gone, and the other learns it from the close below
        finally:
            if answers:
                answers.cancel()
            to_client.close()

    async def _answers(self, registry, to_client):
        while piece := await registry.read(PIECE):
            self.received += len(piece)
            to_client.write(piece)
            await to_client.drain()

    async def _questions(self, client, to_registry):
        async def forward(piece):
            self.sent += len(piece)
            to_registry.write(piece)
            await to_registry.drain()

        async def body(length):
            while length:
                piece = await client.read(min(length, PIECE))
                if not piece:
                    raise asyncio.IncompleteReadError(b"", length)
                await forward(piece)
                length -= len(piece)

        async def line():
            text = await client.readuntil(b"\r\n")
            await forward(text)
            return text

        try:
            first = await client.readexactly(1)
            if first[0] == TLS_HANDSHAKE:
                self.greetings += 1
                await forward(first)
                while piece := await client.read(PIECE):
                    await forward(piece)
                return
            while True:
                head = first + await client.readuntil(b"\r\n\r\n")
                first = b""
                self.requests[head.split(b" ", 1)[0].decode("latin-1")] += 1
                await forward(head)
                fields = dict((name.strip().lower(), value.strip().lower()) for name, _, value in
                              (field.partition(b":") for field in head.split(b"\r\n")[1:]))
                if fields.get(b"transfer-encoding") == b"chunked":
                    while size := int((await line()).split(b";")[0], 16):
                        await body(size + 2)
                    while await line() != b"\r\n":
                        pass
                else:
                    await body(int(fields.get(b"content-length", 0)))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client said its last word
        finally:
            if to_registry.can_write_eof() and not to_registry.is_closing():
                to_registry.write_eof()
