"""A real HTTP server of the chat completions API on 127.0.0.1, whose answers a test decides.

The answers have the form that vLLM documents (vllm/entrypoints/openai/chat_completion/protocol.py):
`choices[0].message` with `content`, and beside it `logprobs.content`, a list of `{token, logprob, bytes,
top_logprobs}`, where `top_logprobs` is a list of `{token, logprob, bytes}`. Of the request it knows `messages`,
`max_tokens`, `top_logprobs`, and `continue_final_message` with `add_generation_prompt`.
"""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from PIL import Image


@dataclass(frozen=True)
class Reply:
    """One answer: JSON, or bytes as they are."""

    body: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


Respond = Callable[[dict[str, Any]], Reply]


@dataclass
class Server:
    """A running server: its address, the requests it got (method, path, headers, body), and how it answers."""

    respond: Respond
    base: str = ""
    models: Sequence[str] = ("parts",)
    requests: list[tuple[str, str, dict[str, str], Any]] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"{self.base}#parts"

    def bodies(self) -> list[dict[str, Any]]:
        return [body for method, _, _, body in self.requests if method == "POST"]


@contextmanager
def serve(respond: Respond) -> Iterator[Server]:
    server = Server(respond)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send(Reply({"object": "list", "data": [{"id": name, "object": "model"} for name in server.models]}))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            server.requests.append((self.command, self.path, dict(self.headers), body))
            self.send(server.respond(body))

        def send(self, reply: Reply) -> None:
            content = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            self.send_response(reply.status)
            headers = {"Content-Length": str(len(content)), "Content-Type": "application/json", **reply.headers}
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    class Http(ThreadingHTTPServer):
        request_queue_size = 64
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            pass  # a client may hang up

    with Http(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        server.base = f"http://127.0.0.1:{http.server_port}/v1"
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()


def completion(
    text: str, tokens: Sequence[tuple[str, Mapping[str, float]]] | None = None, **message: Any
) -> dict[str, Any]:
    """A chat completion; `tokens` are its tokens, each with the log-probabilities in its place by text."""
    content = tokens and [
        {
            **_entry(token, logprobs.get(token, -0.01)),
            "top_logprobs": [_entry(*other) for other in logprobs.items()],
        }
        for token, logprobs in tokens
    ]
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 0,
        "model": "parts",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text, **message},
                "logprobs": {"content": content} if content else None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }


def _entry(token: str, logprob: float) -> dict[str, Any]:
    return {"token": token, "logprob": logprob, "bytes": list(token.encode())}


def image_of(body: dict[str, Any]) -> Image.Image:
    """The image in a request."""
    [part] = [part for part in body["messages"][0]["content"] if part["type"] == "image_url"]
    kind, _, content = part["image_url"]["url"].partition(",")
    assert kind == "data:image/png;base64"
    return Image.open(io.BytesIO(base64.b64decode(content)))


def answers_of(policy: Any, alternatives: int | None = None) -> Respond:
    """Answers that a local policy's model computes: greedy, with its true log-probabilities of as many alternatives
    as a request asks for, or of more."""
    lock = threading.Lock()

    def respond(body: dict[str, Any]) -> Reply:
        import torch

        text = policy.processor.apply_chat_template(
            [{**body["messages"][0], "content": [_plain(part) for part in body["messages"][0]["content"]]}]
            + [{**turn, "content": [{"type": "text", "text": turn["content"]}]} for turn in body["messages"][1:]],
            tokenize=False,
            add_generation_prompt=body.get("add_generation_prompt", True),
            continue_final_message=body.get("continue_final_message", False),
        )
        with lock, torch.inference_mode():
            inputs = policy.processor(images=[[image_of(body)]], text=[text], return_tensors="pt")
            made = policy.model.generate(
                **inputs,
                max_new_tokens=body["max_tokens"],
                do_sample=False,
                return_dict_in_generate=True,
                output_logits=True,
            )
            ids = made.sequences[0, inputs["input_ids"].shape[1] :]
            decode = policy.tokenizer.decode
            tokens = []
            for token, logits in zip(ids.tolist(), made.logits, strict=True):
                best = (
                    logits[0].float().log_softmax(-1).topk(min(alternatives or body["top_logprobs"], logits.shape[1]))
                )
                others = zip(best.indices.tolist(), best.values.tolist(), strict=True)
                tokens.append((decode([token]), {decode([other]): value for other, value in others}))
            return Reply(completion(decode(ids, skip_special_tokens=True), tokens))

    return respond


def _plain(part: dict[str, Any]) -> dict[str, Any]:
    return {"type": "image"} if part["type"] == "image_url" else part
