"""Against a real server on loopback, which gives the vectors of the real model."""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from ragguard.encoders import OpenAIEncoder, SentenceTransformerEncoder
from ragguard.errors import EncoderError, InvalidInputError
from ragguard.evaluation import models
from ragguard.protocols import Encoder

KEY = "sk-test-7f3a9c"
TEXTS = ["The tower is 300 metres tall.", "Bonds fell on Friday.", "Bees dance to tell where flowers are."]

Change = Callable[[list[dict[str, Any]]], list[dict[str, Any]]]


class Server(ThreadingHTTPServer):
    """What it was asked, and how it misbehaves: `change` the vectors, answer `refusals` first, or wait."""

    def __init__(self, encoder: SentenceTransformerEncoder) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.encoder = encoder
        self.asked: list[dict[str, Any]] = []
        self.behave()

    def behave(self, change: Change = lambda data: data, refusals: tuple[int, ...] = (), wait_s: float = 0.0) -> None:
        self.change, self.refusals, self.wait_s = change, list(refusals), wait_s
        self.asked.clear()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append({**asked, "path": self.path, "key": self.headers["authorization"]})
        time.sleep(self.server.wait_s)
        if self.server.refusals:
            self._answer(self.server.refusals.pop(0), {"error": {"message": f"no, not with {self.headers['authorization']}"}})
            return
        vectors = 2 * self.server.encoder.encode_document(asked["input"])[:, : asked.get("dimensions")]
        data = [{"object": "embedding", "index": i, "embedding": row.tolist()} for i, row in enumerate(vectors)]
        self._answer(200, {"object": "list", "model": asked["model"], "data": self.server.change(data)})

    def _answer(self, status: int, content: object) -> None:
        body = json.dumps(content).encode()
        try:
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.send_header("retry-after", "0.05")
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            pass  # the client is gone

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def running(encoder: SentenceTransformerEncoder) -> Iterator[Server]:
    server = Server(encoder)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def endpoint(running: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    running.behave()
    yield running
    running.behave()


def made(server: Server, **settings: Any) -> OpenAIEncoder:
    return OpenAIEncoder("mini", base_url=server.url, **{"longest": 1000, "timeout_s": 5, **settings})


def test_vectors_are_those_of_the_model_behind_it(endpoint: Server, encoder: SentenceTransformerEncoder) -> None:
    remote = made(endpoint, batch_size=2)
    assert isinstance(remote, Encoder)
    endpoint.asked.clear()
    np.testing.assert_allclose(remote.encode_document(TEXTS), encoder.encode_document(TEXTS), atol=1e-6)
    assert [one["input"] for one in endpoint.asked] == [TEXTS[:2], TEXTS[2:]]
    assert {(one["path"], one["model"], one["key"]) for one in endpoint.asked} == {("/v1/embeddings", "mini", f"Bearer {KEY}")}
    endpoint.asked.clear()
    for _ in range(2):
        np.testing.assert_allclose(remote.encode_query(TEXTS[:1]), encoder.encode_query(TEXTS[:1]), atol=1e-6)
    assert len(endpoint.asked) == 1


def test_its_name_tells_model_endpoint_and_settings_and_no_secret(
    endpoint: Server, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    remote = made(endpoint)
    assert remote.name == f"openai:mini@127.0.0.1:{endpoint.server_port}:1000"
    names = {
        remote.name,
        made(endpoint, longest=500).name,
        made(endpoint, dimensions=64).name,
        made(endpoint, query_prompt="query: ").name,
        made(endpoint, document_prompt="query: ").name,
    }
    assert len(names) == 5
    endpoint.behave(refusals=(401,))
    with pytest.raises(EncoderError, match=r"AuthenticationError.*not with Bearer \*\*\*") as caught:
        made(endpoint)
    assert caught.value.__cause__ is None
    assert KEY not in "".join((str(caught.value), repr(remote), *names, *(record.getMessage() for record in caplog.records)))
    monkeypatch.setenv("MY_KEY", "sk-other")
    endpoint.behave()
    made(endpoint, key_variable="MY_KEY")
    assert endpoint.asked[0]["key"] == "Bearer sk-other"


def test_prompts_and_shorter_vectors_are_asked_for(endpoint: Server) -> None:
    remote = made(endpoint, query_prompt="query: ", document_prompt="passage: ", dimensions=64)
    endpoint.asked.clear()
    assert remote.encode_document(["a"]).shape == remote.encode_query(["b"]).shape == (1, remote.dimension) == (1, 64)
    assert [(one["input"], one["dimensions"]) for one in endpoint.asked] == [(["passage: a"], 64), (["query: b"], 64)]
    with pytest.raises(EncoderError, match="1000 dimensions were asked for, and 384 came"):
        made(endpoint, dimensions=1000)


def test_how_much_the_model_reads_is_found_out(endpoint: Server, encoder: SentenceTransformerEncoder) -> None:
    bare = encoder.model

    class Cutting:
        def encode_document(self, texts: list[str]) -> Any:
            return bare.encode_document(texts)

    endpoint.encoder = Cutting()  # type: ignore[assignment]
    try:
        assert made(endpoint, longest=None).longest == 1000
    finally:
        endpoint.encoder = encoder


@pytest.mark.parametrize("refusals", [(429, 429), (500, 503), (408,)])
def test_what_passes_is_tried_again(endpoint: Server, refusals: tuple[int, ...]) -> None:
    remote = made(endpoint)
    endpoint.behave(refusals=refusals)
    assert remote.encode_document(TEXTS).shape == (3, 384)
    assert len(endpoint.asked) == len(refusals) + 1


@pytest.mark.parametrize(("status", "times"), [(429, 3), (503, 3), (400, 1), (401, 1), (404, 1)])
def test_what_does_not_pass_is_an_error(endpoint: Server, status: int, times: int) -> None:
    remote = made(endpoint, retries=2)
    endpoint.behave(refusals=(status,) * 5)
    with pytest.raises(EncoderError, match=rf"mini at 127.0.0.1:\d+ failed on 3 texts.*{status}"):
        remote.encode_document(TEXTS)
    assert len(endpoint.asked) == times


def test_an_endpoint_that_hangs_or_is_gone_is_an_error(endpoint: Server) -> None:
    remote = made(endpoint, timeout_s=0.3, retries=1)
    endpoint.behave(wait_s=1)
    start = time.perf_counter()
    with pytest.raises(EncoderError, match="APITimeoutError"):
        remote.encode_document(TEXTS)
    assert time.perf_counter() - start < 4
    with pytest.raises(EncoderError, match="APIConnectionError"):
        OpenAIEncoder("mini", base_url="http://127.0.0.1:9/v1", retries=0)


def test_vectors_are_brought_into_order(endpoint: Server, encoder: SentenceTransformerEncoder) -> None:
    remote = made(endpoint)
    endpoint.behave(change=lambda data: data[::-1])
    np.testing.assert_allclose(remote.encode_document(TEXTS), encoder.encode_document(TEXTS), atol=1e-6)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: data[:-1], "2 vectors for 3 texts"),
        (lambda data: [*data, data[0]], "4 vectors for 3 texts"),
        (lambda data: [], "0 vectors for 3 texts|No embedding data"),
        (lambda data: [{**one, "index": 0} for one in data], "misnumbered"),
        (lambda data: [{**one, "index": one["index"] + 1} for one in data], "misnumbered"),
        (lambda data: [{"embedding": one["embedding"]} for one in data], "failed on 3 texts|misnumbered"),
        (lambda data: [{**one, "embedding": [float("nan")] * 384} for one in data], "NaN"),
        (lambda data: [{**one, "embedding": [0.0] * 384} for one in data], "norm 0"),
        (lambda data: [{**one, "embedding": one["embedding"][:64]} for one in data], r"shape \(3, 64\)"),
        (lambda data: [{**one, "embedding": one["embedding"][: 64 + i]} for i, one in enumerate(data)], "not an array"),
        (lambda data: [{**one, "embedding": None} for one in data], "not an array|no vectors"),
        (lambda data: "nothing", "failed on 3 texts"),
    ],
)
def test_what_are_no_vectors_is_an_error(endpoint: Server, change: Change, said: str) -> None:
    remote = made(endpoint, retries=0)
    endpoint.behave(change=change)
    with pytest.raises(EncoderError, match=said):
        remote.encode_document(TEXTS)


def test_settings_are_checked(endpoint: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong in ({"timeout_s": 0}, {"retries": -1}, {"dimensions": 0}, {"batch_size": 0}, {"longest": -1}):
        with pytest.raises(InvalidInputError):
            made(endpoint, **wrong)
    for url in (f"http://user:{KEY}@127.0.0.1/v1", f"http://127.0.0.1/v1?key={KEY}"):
        with pytest.raises(InvalidInputError, match="which clients log") as caught:
            OpenAIEncoder("mini", base_url=url)
        assert KEY not in str(caught.value)
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(InvalidInputError, match="OPENAI_API_KEY is not set"):
        made(endpoint)


def test_the_command_line_knows_it(endpoint: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
    assert models.load("openai:mini").name.startswith(f"openai:mini@127.0.0.1:{endpoint.server_port}:")
    with pytest.raises(InvalidInputError, match="weights"):
        models.load_weights("openai:mini")
    monkeypatch.delitem(sys.modules, "ragguard.encoders.openai")
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(InvalidInputError, match="pip install"):
        models.load("openai:mini")
