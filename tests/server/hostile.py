"""A seeded grammar of requests to the webhook site: valid deliveries in every lawful shape among forged, malformed,
oversized and slow ones. Pure: bytes out of a seed; who sends them and what is expected of it is written beside them.
"""

from __future__ import annotations

import gzip
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import orjson

from syncd.kit import signatures

BODY_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Attempt:
    """One request. `answers` are the status codes that may come; empty: the connection may also just be closed."""

    kind: str
    pieces: tuple[bytes, ...]
    """Sent one after the other, each in a packet of its own; the connection stays open after the last one."""
    answers: frozenset[int]
    event_id: str | None = None
    """Of a valid one: what is stored under it."""
    perhaps: str | None = None
    """Broken in a place that may not matter: it may be stored under this."""
    hangs: bool = False
    """Never finished: the server has to end it."""

    @property
    def valid(self) -> bool:
        return self.event_id is not None


class Grammar:
    """`sign(body, stamp)` gives the headers of a Stripe-like partner, at `path`."""

    def __init__(self, seed: int, path: str, key: str, now: Callable[[], float]) -> None:
        self.dice = random.Random(seed)
        self.path = path
        self.key = key
        self.now = now
        self._count = 0
        self._sent: list[str] = []
        self._makers = [
            (self.valid, 30), (self.valid_again, 4), (self.valid_in_pieces, 6), (self.valid_chunked, 4),
            (self.valid_oddly_written, 6), (self.forged, 14), (self.tampered, 6), (self.stale, 4), (self.unsigned, 4),
            (self.unknown, 6), (self.signed_garbage, 4), (self.compressed, 3), (self.oversized, 2), (self.broken_head, 10),
            (self.wrong_method, 3), (self.lying_length, 3), (self.odd_signature, 6), (self.smuggled, 4), (self.slow, 2),
        ]  # fmt: skip

    def attempts(self, count: int) -> Iterator[Attempt]:
        makers, weights = zip(*self._makers, strict=True)
        for _ in range(count):
            yield self.dice.choices(makers, weights)[0]()

    # -- what is the partner's own ------------------------------------------------------------------------------------

    def valid(self) -> Attempt:
        name, body = self._event()
        return self._whole("valid", name, body, self._signed(body))

    def valid_again(self) -> Attempt:
        name, body = self._event(self.dice.choice(self._sent) if self._sent else None)
        return self._whole("valid again", name, body, self._signed(body))

    def valid_in_pieces(self) -> Attempt:
        name, body = self._event()
        whole = self._request(body, self._signed(body))
        cuts = sorted(self.dice.sample(range(1, len(whole)), k=min(self.dice.randint(1, 6), len(whole) - 1)))
        pieces = tuple(whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True))
        return Attempt("valid in pieces", pieces, frozenset({200, 202}), name)

    def valid_chunked(self) -> Attempt:
        name, body = self._event()
        head = self._head({**self._signed(body), "Transfer-Encoding": "chunked"})
        middle = self.dice.randint(1, len(body) - 1)
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:middle], body[middle:]))
        return Attempt("valid chunked", (head + chunks + b"0\r\n\r\n",), frozenset({200, 202}), name)

    def valid_oddly_written(self) -> Attempt:
        """As HTTP allows it: other case, blanks round values, a query, names we do not know, no `Accept`."""
        name, body = self._event()
        headers = self._signed(body)
        odd = self.dice.choice(
            [
                {key.upper(): value for key, value in headers.items()},
                {key: f"  {value} \t" for key, value in headers.items()},
                {**headers, "Connection": "keep-alive"},
                {**headers, "X-Nobody-Knows": 'a:b, c=d; "e"'},
                {**headers, "Content-Type": "text/plain; charset=latin-1"},
                {**headers, "Content-Encoding": "identity"},
                {**headers, "X-Latin": "\xe9t\xe9"},
                {**headers, "Expect": "100-continue"},
            ]
        )
        path = self.path + self.dice.choice(["", "", "?a=b&c=%20", "/visitors", "/a.b~c"])
        return self._whole("valid, oddly written", name, body, odd, path=path, answers={200, 202, 100})

    # -- what is not --------------------------------------------------------------------------------------------------

    def forged(self) -> Attempt:
        _, body = self._event(remember=False)
        return self._whole("forged", None, body, self._signed(body, key="whsec_somebody_else"))

    def tampered(self) -> Attempt:
        _, body = self._event(remember=False)
        at = self.dice.randrange(len(body))
        other = bytes([(body[at] + self.dice.randint(1, 255)) % 256])
        return self._whole("tampered", None, body[:at] + other + body[at + 1 :], self._signed(body))

    def stale(self) -> Attempt:
        _, body = self._event(remember=False)
        return self._whole("stale", None, body, self._signed(body, age=self.dice.randint(400, 10**8)))

    def unsigned(self) -> Attempt:
        _, body = self._event(remember=False)
        return self._whole("unsigned", None, body, {})

    def unknown(self) -> Attempt:
        _, body = self._event(remember=False)
        path = self.dice.choice(
            ["/webhooks/acme/nobody", "/webhooks/nobody/one", "/webhooks/%00/%ff", "/webhooks/a/b/c"]
        )
        return self._whole("unknown", None, body, self._signed(body), path=path)

    def signed_garbage(self) -> Attempt:
        """A signature that fits nothing, over bytes that are nothing."""
        body = self.dice.randbytes(self.dice.randint(0, 3000))
        return self._whole("garbage", None, body, self._signed(body, key="whsec_x"))

    def compressed(self) -> Attempt:
        _, body = self._event(remember=False)
        headers = {**self._signed(body), "Content-Encoding": self.dice.choice(["gzip", "br", "deflate", "GZIP", "x"])}
        return self._whole("compressed", None, gzip.compress(body), headers, answers={415})

    def oversized(self) -> Attempt:
        size = BODY_BYTES + self.dice.choice([1, 10**6, 10**12])
        if self.dice.random() < 0.5:
            return Attempt("oversized", (self._head({"Content-Length": str(size)}),), frozenset({413}))
        chunks = (b"10000\r\n" + b"x" * 65536 + b"\r\n") * 17
        return Attempt("oversized", (self._head({"Transfer-Encoding": "chunked"}) + chunks,), frozenset({413}))

    def broken_head(self) -> Attempt:
        name, body = self._event(remember=False)
        whole = self._request(body, self._signed(body))
        end = whole.index(b"\r\n\r\n")
        at = self.dice.randrange(end)
        odd = self.dice.choice([b"\x00", b"\r", b"\n", b"\x80", b"\xff\xfe", b" ", b":", b"\r\n"])
        return Attempt("broken head", (whole[:at] + odd + whole[at + 1 :],), frozenset(), perhaps=name)

    def wrong_method(self) -> Attempt:
        _, body = self._event(remember=False)
        verb = self.dice.choice(["GET", "PUT", "DELETE", "HEAD", "OPTIONS", "BREW", "post"])
        whole = self._request(body, self._signed(body)).replace(b"POST", verb.encode(), 1)
        return Attempt("wrong method", (whole,), frozenset())

    def lying_length(self) -> Attempt:
        _, body = self._event(remember=False)
        headers = self._signed(body)
        length = self.dice.choice(["-1", "1e3", "0x10", " ", "٣", "1_000", "9" * 40, "3,3", str(len(body) - 5)])
        return Attempt("lying length", (self._head({**headers, "Content-Length": length}) + body,), frozenset())

    def odd_signature(self) -> Attempt:
        _, body = self._event(remember=False)
        made = self.dice.choice(
            ["", "t=", "t=soon,v1=00", "v1=" + "0" * 64, "t=1,v1=" + "f" * 64, "," * 500, "t=٣,v1=00", "\xff\xfe",
             f"t={self.now():.0f},v1=" + "é" * 32, "t=1" * 100, "t=" + "9" * 400 + ",v1=00"]
        )  # fmt: skip
        return self._whole("odd signature", None, body, {"Stripe-Signature": made})

    def smuggled(self) -> Attempt:
        """Two lengths, or a length and chunks: whatever is made of it, no second request may come out of it unsigned."""
        _, body = self._event(remember=False)
        inner = self._request(body, {})
        headers = self.dice.choice(
            [
                {"Content-Length": str(len(inner)), "Transfer-Encoding": "chunked"},
                {"Content-Length": "0", "content-length": str(len(inner))},
                {"Transfer-Encoding": "chunked, identity"},
                {"Transfer-Encoding": "\x0bchunked"},
            ]
        )
        return Attempt("smuggled", (self._head(headers) + b"0\r\n\r\n" + inner,), frozenset())

    def slow(self) -> Attempt:
        _, body = self._event(remember=False)
        whole = self._request(body, self._signed(body))
        return Attempt("slow", (whole[: self.dice.randrange(len(whole))],), frozenset({408}), hangs=True)

    # -- its parts ----------------------------------------------------------------------------------------------------

    def _event(self, name: str | None = None, *, remember: bool = True) -> tuple[str, bytes]:
        self._count += 1
        if name is None:
            odd = self.dice.choice(["", "", "", "", "\x00", "é", "\U0001f41b", "x" * 400, " "])
            name = f"evt_{self._count}{odd}"
            if remember:
                self._sent.append(name)
        told = {
            "id": name,
            "type": self.dice.choice(["thing.updated", "thing.\x00", "t" * 300, None, 7]),
            "n": self._count,
        }
        return name, orjson.dumps({**told, "text": "x" * self.dice.choice([0, 200, 900, 20_000])})

    def _signed(self, body: bytes, *, key: str | None = None, age: int = 0) -> dict[str, str]:
        stamp = str(int(self.now()) - age)
        return {"Stripe-Signature": signatures.sign_stamped(body, stamp, key or self.key)}

    def _head(self, headers: dict[str, str], path: str = "") -> bytes:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"POST {path or self.path} HTTP/1.1\r\nHost: syncd\r\n{lines}\r\n".encode()

    def _request(self, body: bytes, headers: dict[str, str], path: str = "") -> bytes:
        return (
            self._head({"Content-Type": "application/json", **headers, "Content-Length": str(len(body))}, path) + body
        )

    def _whole(
        self,
        kind: str,
        name: str | None,
        body: bytes,
        headers: dict[str, str],
        *,
        path: str = "",
        answers: set[int] | None = None,
    ) -> Attempt:
        expected = answers or ({200, 202} if name is not None else {401})
        return Attempt(kind, (self._request(body, headers, path),), frozenset(expected), name)
