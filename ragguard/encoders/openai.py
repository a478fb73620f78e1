"""Embeddings of OpenAI, or of any endpoint that speaks its protocol (vLLM, Ollama, text-embeddings-inference, ...)."""

from __future__ import annotations

import os
from collections.abc import Sequence

from ragguard.checks import positive
from ragguard.encoders.function import BATCH, FunctionEncoder
from ragguard.errors import EncoderError, InvalidInputError
from ragguard.text import content_hash

try:
    import openai
except ImportError as error:
    raise ImportError("OpenAIEncoder needs OpenAI's client: pip install 'ragguard-defense[openai]'") from error

TIMEOUT_S = 30.0
"""For one attempt; the client's own default, ten minutes, is made for language models."""

RETRIES = 4
"""Of an attempt that found no connection, or was answered 408, 409, 429 or 5xx. The client waits as long as the endpoint says, or
0.5, 1, 2, 4 s and a little at random."""


class OpenAIEncoder(FunctionEncoder):
    """A model behind an OpenAI-compatible endpoint, as an encoder of unit vectors; long texts as in `FunctionEncoder`.

    Your corpus and every query go to that endpoint. Its answers are taken for those of the model that you name:
    `ragguard.encoders.same_model` compares them with your index.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        key_variable: str = "OPENAI_API_KEY",
        dimensions: int | None = None,
        query_prompt: str = "",
        document_prompt: str = "",
        longest: int | None = None,
        batch_size: int = BATCH,
        timeout_s: float = TIMEOUT_S,
        retries: int = RETRIES,
    ) -> None:
        """Connect, and ask for a few vectors.

        Args:
            model: As the endpoint names it; the one that your index was built with.
            base_url: Up to and with `/v1`; None takes the environment's OPENAI_BASE_URL, or OpenAI's own.
            key_variable: Variable of the environment that holds the key, which is never told.
            dimensions: Of shortened vectors, for endpoints that shorten; None takes the model's own.
            query_prompt: What the index's queries have in front, such as "query: " for E5.
            document_prompt: Likewise of documents.
            longest: See `FunctionEncoder`.
            batch_size: Texts in a request, at most.
            timeout_s: Seconds of silence after which an attempt has failed.
            retries: Further attempts.

        Raises:
            InvalidInputError: If the key's variable is not set, the URL holds a secret, or a number is out of range.
            EncoderError: If the endpoint cannot be reached, refuses, or returns what are no vectors.
        """
        key = os.environ.get(key_variable, "")
        if not key:
            raise InvalidInputError(f"{key_variable} is not set; an endpoint that asks for no key takes any value")
        if not timeout_s > 0 or retries < 0:
            raise InvalidInputError(f"timeout_s must be above 0 and retries not below, not {timeout_s} and {retries}")
        self._model, self._key, self._prompts = model, key, (query_prompt, document_prompt)
        self._shortened = {} if dimensions is None else {"dimensions": positive(dimensions, "dimensions")}
        self._client = openai.OpenAI(api_key=key, base_url=base_url, timeout=timeout_s, max_retries=retries)
        url = self._client.base_url
        if url.userinfo or url.query:
            raise InvalidInputError(
                "the endpoint's URL has a user, a password or a query, which clients log; use the key's variable"
            )
        self._endpoint = f"{url.host}:{url.port}" if url.port else url.host
        name = [f"openai:{model}@{self._endpoint}", *map(str, self._shortened.values())]
        if any(self._prompts):
            name.append(content_hash("\0".join(self._prompts))[:8])
        super().__init__(
            lambda texts: self._embed(texts, document_prompt),
            lambda text: self._embed([text], query_prompt)[0],
            name=":".join(name),
            longest=longest,
            batch_size=batch_size,
        )
        if dimensions not in (None, self.dimension):
            raise EncoderError(f"{self.name}: {dimensions} dimensions were asked for, and {self.dimension} came")

    def _embed(self, texts: Sequence[str], prompt: str) -> list[list[float]]:
        prompted = [prompt + text for text in texts]
        try:
            # As numbers: not every endpoint knows base64, which is the client's default.
            embeddings = self._client.embeddings.create(
                input=prompted, model=self._model, encoding_format="float", extra_body=self._shortened
            ).data
            rows = {row.index: row.embedding for row in embeddings}
        except Exception as error:
            # Without the cause: endpoints repeat keys in what they answer, and requests hold them.
            message = f"{type(error).__name__}: {error}".replace(self._key, "***")
            raise EncoderError(f"{self._model} at {self._endpoint} failed on {len(prompted)} texts: {message:.300}") from None
        if len(embeddings) != len(prompted) or rows.keys() != set(range(len(prompted))):
            raise EncoderError(
                f"{self._model} at {self._endpoint} gave {len(embeddings)} vectors for {len(prompted)} texts, or misnumbered"
            )
        return [rows[i] for i in range(len(prompted))]
