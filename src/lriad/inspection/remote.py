"""A policy behind any server of the OpenAI chat completions API: vLLM, SGLang, `transformers serve`."""

from __future__ import annotations

import base64
import io
import json
import math
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

from PIL import Image

from lriad.errors import LriadError
from lriad.policy.answer import FAST_PREFIX, Completion, text_before_answer
from lriad.policy.loading import MAX_PIXELS
from lriad.prompt import ANSWERS, PLAIN, Context, build_messages

if TYPE_CHECKING:
    import requests

CONCURRENCY = 32
"""Requests under way at once."""

CONNECT_TIMEOUT = 10.0
ANSWER_TIMEOUT = 600.0
"""Seconds. An answer may have to wait for others in the server's queue."""

ATTEMPTS = 5
FIRST_WAIT = 1.0
LONGEST_WAIT = 60.0
"""Seconds between attempts: about 1, 2, 4, 8, or what the server asks for, never longer than this."""

MAX_ANSWER_BYTES = 64 << 20
TOP_LOGPROBS = 20
"""Alternatives a token: what the API, and vLLM by default, gives at most."""

_OPEN = "<answer>"
_TORN = _OPEN[:-1]
"""What a continued message ends with: some vocabularies join the last character and the letter in one token."""

_EXTENSIONS: dict[str, dict[str, Any]] = {
    "logprobs": {"logprobs": True, "top_logprobs": TOP_LOGPROBS},
    # Qwen2.5-VL ships one of 1.05, and vLLM applies it: see Policy.reason.
    "repetition_penalty": {"repetition_penalty": 1.0},
    "continue_final_message": {"continue_final_message": True, "add_generation_prompt": False},
}
"""Fields that a server may refuse, by what they are for."""

_NO_LOGPROBS = "the server gives no log-probabilities"


@dataclass(frozen=True, slots=True)
class Token:
    """One token of a completion.

    Attributes:
        text: Its text.
        logprobs: Natural log-probability of it and of the likeliest others in its place, by their text.
    """

    text: str
    logprobs: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class _Answer:
    """A completion as the server gives it; `tokens` is empty where it gives no log-probabilities."""

    text: str
    tokens: tuple[Token, ...]


@dataclass(slots=True)
class _Prompt:
    """One image's messages, and what was answered: asked again for it, nothing is sent again."""

    messages: list[dict[str, Any]]
    outcomes: dict[int, Completion | LriadError] = field(default_factory=dict)


class _Passing(Exception):
    """This attempt failed; the next may not. `wait` is how many seconds the server asks to be left alone."""

    def __init__(self, reason: str, *, unreachable: bool = False, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.unreachable = unreachable
        self.wait = wait


class _Rejected(LriadError):
    """The server understood the request and will not have it; `why` is its own message."""

    def __init__(self, text: str, why: str) -> None:
        super().__init__(text)
        self.why = why


class RemotePolicy:
    """A policy on a server, with the interface that `Inspector` uses.

    An image travels as lossless PNG, and once: its completion and the log-probabilities come with one answer (a
    completion that reaches no answer is followed by a second request, which has to repeat the conversation). One of
    more than `MAX_PIXELS` pixels, the paper's bound, is scaled down to it first, keeping its aspect ratio: the server's
    own scaling then starts from that one, so that p_defect differs a little from the local policy's, and a text may.

    Two small requests with a blank image, when this is made, find out what the server can do.

    The key for the server, where it wants one, is read from the environment variable OPENAI_API_KEY.

    Args:
        address: `http://HOST:PORT/v1#MODEL`. Without `#MODEL` the server must have exactly one.

    Attributes:
        name: The address.
        model: What the server calls the model.
        policy_sha256: `server:MODEL`, for the weights cannot be seen.
        adapter_sha256: None.

    Raises:
        LriadError: The server cannot be reached, has no such model, or cannot do what is needed.
    """

    adapter_sha256 = None
    operating_point: ClassVar[dict[str, float]] = {}

    def __init__(self, address: str) -> None:
        self.name = address
        self._base, model = split_address(address)
        self._session = _session()
        self._reachable = True
        self._refused: dict[str, str] = {}
        self.model = model or self._only_model()
        self.policy_sha256 = f"server:{self.model}"
        self._find_out()

    def encode(
        self,
        image: Image.Image,
        object_name: str,
        context: Context = PLAIN,
        references: Sequence[Image.Image] = (),
    ) -> _Prompt:
        """The conversation for one RGB image, as the API takes it."""
        for what, text in (("object name", object_name), ("note", context.note)):
            if re.search(r"<[^<>\s]+>", text):
                # The local policy refuses its own special tokens; a server's are not known.
                raise LriadError(f"{what} {text!r}: holds what may steer the model; leave out the '<' and '>'")
        pictures = iter([{"type": "image_url", "image_url": {"url": data_url(one)}} for one in (*references, image)])
        messages = build_messages(object_name, replace(context, references=len(references)))
        for message in messages:
            message["content"] = [next(pictures) if part["type"] == "image" else part for part in message["content"]]
        return _Prompt(messages)

    def reason(self, prompts: Sequence[_Prompt], *, max_new_tokens: int = 512) -> list[Completion]:
        """Completions under greedy decoding, with P(defect) where the answer stands.

        P is the softmax over the two letters' log-probabilities, in the place of the letter that was written. Where
        the other letter is not among the alternatives that the server lists, it can have no more probability than the
        least likely one listed, nor than all of them leave: that upper bound stands for it, so that p is never further
        from 0.5 than the truth. Where the text reaches no answer, one is forced behind its reasoning by a second
        request.

        Args:
            prompts: N prompts from `encode`.
            max_new_tokens: A completion is cut off there.

        Returns:
            N completions; `p_defect` is None where the server gives no log-probabilities.

        Raises:
            LriadError: A prompt could not be answered. The other answers are kept: asked again for some of the same
                prompts, the server is not.
        """
        return self._each(prompts, max_new_tokens, partial(self._reason, max_new_tokens=max_new_tokens))

    def fast(self, prompts: Sequence[_Prompt]) -> list[Completion]:
        """P(defect) without reasoning, of N prompts from `encode`: one or two tokens each.

        Raises:
            LriadError: The server gives no log-probabilities or continues no message, or a prompt could not be
                answered.
        """
        for needed in ("logprobs", "continue_final_message"):
            if needed in self._refused:
                raise LriadError(f"{self._base}: {self._refused[needed]}, fast mode needs that; use --mode reason")
        return self._each(prompts, 0, self._fast)

    def _reason(self, prompt: _Prompt, max_new_tokens: int) -> Completion:
        answer = self._ask(prompt.messages, max_new_tokens)
        before, forced = text_before_answer(answer.text)
        if "logprobs" in self._refused:
            return Completion(answer.text, None, forced, self._refused["logprobs"])
        if p_and_why := p_of_written_answer(answer.tokens):
            return Completion(answer.text, p_and_why[0], forced, p_and_why[1])
        if "continue_final_message" in self._refused:
            return Completion(answer.text, None, forced, f"no answer, and {self._refused['continue_final_message']}")
        try:
            p_defect, why = self._p_behind(prompt, before)
        except _Rejected as rejected:  # such as a prompt that is too long now
            p_defect, why = None, f"no answer, and the server refused to be asked for one: {rejected.why}"
        return Completion(answer.text, p_defect, forced, why)

    def _fast(self, prompt: _Prompt) -> Completion:
        p_defect, why = self._p_behind(prompt, FAST_PREFIX)
        if p_defect is None:
            raise LriadError(f"{self._base}: {why}, fast mode needs that; use --mode reason")
        return Completion("", p_defect, forced=False)

    def _p_behind(self, prompt: _Prompt, before: str) -> tuple[float | None, str | None]:
        """P(defect) in an answer block that is opened behind the text `before`, or why there is none."""
        opened = [*prompt.messages, {"role": "assistant", "content": before + _TORN}]
        return p_of_forced_answer(self._ask(opened, 2, continued=True).tokens)

    def _each(self, prompts: Sequence[_Prompt], key: int, answer: Callable[[_Prompt], Completion]) -> list[Completion]:
        """The answers to all prompts; those that are not known yet are asked for at the same time."""

        def outcome(prompt: _Prompt) -> Completion | LriadError:
            try:
                return answer(prompt)
            except LriadError as error:
                return error

        pending = [prompt for prompt in prompts if key not in prompt.outcomes]
        if pending:
            pool = ThreadPoolExecutor(min(CONCURRENCY, len(pending)), thread_name_prefix="ask-server")
            try:
                for prompt, found in zip(pending, pool.map(outcome, pending), strict=True):
                    prompt.outcomes[key] = found
            finally:
                pool.shutdown(cancel_futures=True)
        completions = []
        for prompt in prompts:
            found = prompt.outcomes[key]
            if isinstance(found, LriadError):
                raise found
            completions.append(found)
        return completions

    def _only_model(self) -> str:
        listed = self._request("GET", "/models")
        entries = listed.get("data") if isinstance(listed, dict) else None
        ids = [entry.get("id") for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
        names = [name for name in ids if isinstance(name, str) and name.isprintable()]
        if len(names) == 1:
            return names[0]
        some = ", ".join(name[:80] for name in names[:5]) + (", …" if len(names) > 5 else "")
        has = f"has {len(names)} models ({some})" if names else "lists no model"
        raise LriadError(f"{self._base}: {has}; say which one: {self._base}#MODEL")

    def _find_out(self) -> None:
        """Learn what the server refuses before the first image is on its way."""
        blank = self.encode(Image.new("RGB", (56, 56), "grey"), "part").messages
        if not self._ask(blank, 1).tokens:
            self._refused.setdefault("logprobs", _NO_LOGPROBS)
        if "logprobs" not in self._refused:
            try:
                self._ask([*blank, {"role": "assistant", "content": FAST_PREFIX + _TORN}], 2, continued=True)
            except _Rejected:
                if "continue_final_message" not in self._refused:
                    raise

    def _ask(self, messages: list[dict[str, Any]], max_tokens: int, *, continued: bool = False) -> _Answer:
        """The completion of a conversation. What the server refuses is left out, and not sent again."""
        while True:
            wanted = [name for name in _EXTENSIONS if continued or name != "continue_final_message"]
            wanted = [name for name in wanted if name not in self._refused]
            body = {
                "model": self.model,
                "messages": messages,
                "max_tokens": max_tokens,
                "temperature": 0,
                # `transformers serve` knows its repetition penalty, minus 1, by this name.
                "frequency_penalty": 0,
            }
            for name in wanted:
                body |= _EXTENSIONS[name]
            try:
                return read_answer(self._request("POST", "/chat/completions", body), self._base)
            except _Rejected as rejected:
                named = [name for name in wanted if any(part in rejected.why for part in _EXTENSIONS[name])]
                if not named:
                    raise
                self._refused |= {name: _refusal(name, rejected.why) for name in named}
                if "continue_final_message" in named:
                    raise

    def _request(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """The JSON of a successful answer. What may pass is tried again, later and later."""
        import tenacity

        # While nobody answers, thousands of images must not wait for one attempt after another each.
        attempts = ATTEMPTS if self._reachable else 1
        back_off = tenacity.wait_exponential_jitter(FIRST_WAIT, LONGEST_WAIT, jitter=FIRST_WAIT)

        def wait(state: tenacity.RetryCallState) -> float:
            fault = state.outcome.exception() if state.outcome else None
            return max(back_off(state), min(getattr(fault, "wait", 0.0), LONGEST_WAIT))

        retrying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(attempts),
            wait=wait,
            retry=tenacity.retry_if_exception_type(_Passing),
            reraise=True,
        )
        try:
            found = retrying(self._request_once, method, path, body)
        except _Passing as fault:
            self._reachable = not fault.unreachable
            times = f"{attempts} attempts failed" if attempts > 1 else "1 attempt failed"
            advice = "is it running, and is the address right?" if fault.unreachable else "try later"
            raise LriadError(f"{self._base}: {fault}, {times}; {advice}") from fault
        self._reachable = True
        return found

    def _request_once(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        import requests
        import urllib3

        try:
            with self._session.request(
                method,
                self._base + path,
                json=body,
                timeout=(CONNECT_TIMEOUT, ANSWER_TIMEOUT),
                stream=True,
                # A redirect would turn POST into GET, and carry the key elsewhere.
                allow_redirects=False,
            ) as response:
                content = self._content(response)
        except requests.exceptions.SSLError as error:
            raise LriadError(
                f"{self._base}: no trusted connection; is it http://, or do you have its certificate for "
                "REQUESTS_CA_BUNDLE?"
            ) from error
        except requests.ReadTimeout as error:
            raise self._timed_out() from error
        except requests.ConnectionError as error:
            if error.args and isinstance(error.args[0], urllib3.exceptions.ReadTimeoutError):  # inside the body
                raise self._timed_out() from error
            if error.args and isinstance(error.args[0], urllib3.exceptions.ProtocolError):
                raise _Passing("the connection was lost") from error
            raise _Passing("no connection", unreachable=True) from error
        except (requests.exceptions.ChunkedEncodingError, requests.exceptions.ContentDecodingError) as error:
            raise _Passing("the connection was lost") from error
        except requests.RequestException as error:
            raise LriadError(f"{self._base}: cannot be asked: {_line(str(error))}") from error
        if response.status_code != 200:
            raise self._failure(response, _message(content))
        try:
            return json.loads(content)
        except (ValueError, RecursionError) as error:
            raise _malformed(self._base) from error

    def _content(self, response: requests.Response) -> bytes:
        """The body, within bounds of size and time: a server may send one byte a minute for ever."""
        deadline = time.monotonic() + ANSWER_TIMEOUT
        content = bytearray()
        for chunk in response.iter_content(1 << 16):
            content += chunk
            if len(content) > MAX_ANSWER_BYTES:
                raise LriadError(f"{self._base}: an answer of more than {MAX_ANSWER_BYTES >> 20} MB; is this the API?")
            if time.monotonic() > deadline:
                raise self._timed_out()
        return bytes(content)

    def _timed_out(self) -> LriadError:
        # Not tried again: the server may still be at work on it.
        return LriadError(f"{self._base}: no answer in {ANSWER_TIMEOUT:g} s; is the server overloaded?")

    def _failure(self, response: requests.Response, why: str) -> Exception:
        status = response.status_code
        said = f"answered {status}" + (f" ({why})" if why else "")
        if status in (408, 429) or status >= 500:
            wait = response.headers.get("Retry-After", "")
            return _Passing(said, wait=float(wait) if re.fullmatch(r"\d{1,9}", wait) else 0.0)
        if status in (401, 403):
            return LriadError(f"{self._base}: {said}; set OPENAI_API_KEY to a key for this server")
        if status == 404:
            return LriadError(f"{self._base}: {said}; are the address (…/v1) and the model's name (#MODEL) right?")
        if status in (400, 422):
            return _Rejected(f"{self._base}: {said}", why)
        return LriadError(f"{self._base}: {said}; is this the address of the API (…/v1)?")


def split_address(address: str) -> tuple[str, str | None]:
    """The API's base URL, without a slash at its end, and the model's name, None without one.

    Raises:
        LriadError: It is no http or https URL, or holds a password or a query.
    """
    base, _, model = address.partition("#")
    try:
        parts = urlsplit(base)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.query or not base.isprintable():
        raise LriadError(f"policy {address!r}: expected http://HOST:PORT/v1#MODEL")
    if "@" in parts.netloc:
        raise LriadError("policy: a server's address with a password in it would be kept; set OPENAI_API_KEY instead")
    return base.rstrip("/"), model or None


def data_url(image: Image.Image) -> str:
    """An RGB image as a PNG in base64, scaled down to `MAX_PIXELS` where it has more."""
    pixels = image.width * image.height
    if pixels > MAX_PIXELS:
        scale = math.sqrt(MAX_PIXELS / pixels)
        size = (max(1, int(image.width * scale)), max(1, int(image.height * scale)))
        image = image.resize(size, Image.Resampling.BICUBIC)
    png = io.BytesIO()
    image.save(png, "PNG", compress_level=1)  # photographs hardly get smaller above
    return "data:image/png;base64," + base64.b64encode(png.getvalue()).decode("ascii")


def p_of_written_answer(tokens: Sequence[Token]) -> tuple[float | None, str | None] | None:
    """P(defect) in the place of the letter behind the first `<answer>`, or None and why.

    None where the tokens do not reach that place.
    """
    text = "".join(token.text for token in tokens)
    place = text.find(_OPEN) + len(_OPEN)
    if place < len(_OPEN) or place >= len(text):
        return None
    letter = text[place] in ANSWERS.values() and not text[place + 1 : place + 2].isalnum()
    candidates: list[tuple[Token, str]] = []
    start = 0
    for token in tokens:
        end = start + len(token.text)
        if start <= place < end:
            own = (token, token.text[: place - start])
            # The token of a letter that was written knows how this vocabulary cuts the text.
            candidates = [own] if letter else [*candidates, own]
            break
        if end == place and token.text:
            # Another vocabulary would have joined the letter to the end of this token.
            candidates.append((token, token.text))
        start = end
    return _compare(candidates)


def p_of_forced_answer(tokens: Sequence[Token]) -> tuple[float | None, str | None]:
    """P(defect) from the first tokens behind `<answer`, or None and why."""
    candidates = [(token, ">") for token in tokens[:1]]
    if len(tokens) > 1 and tokens[0].text == ">":
        candidates.append((tokens[1], ""))
    return _compare(candidates)


def _compare(candidates: Sequence[tuple[Token, str]]) -> tuple[float | None, str | None]:
    """P(defect) from the first place where a letter is among the alternatives.

    Args:
        candidates: Tokens, each with what stands in front of the letter in it.
    """
    for token, head in candidates:
        # Alternatives that differ from the token in the letter alone: `A</` is compared with `B</`.
        after = token.text[len(head) + 1 :]
        written = token.text.startswith(tuple(head + letter for letter in ANSWERS.values()))
        tail = after if written and not after[:1].isalnum() else ""
        a, b = (token.logprobs.get(head + ANSWERS[label] + tail) for label in ("defect", "normal"))
        if a is None and b is None:
            continue
        most = _most_of_an_unlisted(token)
        return _sigmoid((most if a is None else a) - (most if b is None else b)), None
    return None, f"neither A nor B is among the server's {TOP_LOGPROBS} likeliest tokens where the answer stands"


def _most_of_an_unlisted(token: Token) -> float:
    """Upper bound of the log-probability of what is not among the alternatives."""
    left = 1 - sum(math.exp(value) for value in token.logprobs.values())
    return min(*token.logprobs.values(), math.log(max(left, 1e-6)))  # log-probabilities come in single precision


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def read_answer(answer: Any, base: str) -> _Answer:
    """The completion in a server's answer, of which nothing is taken for granted.

    A server that parses reasoning takes the think block out of the text: it is put back, with one space behind it.

    Args:
        answer: The JSON of `/chat/completions`.
        base: Names the server in errors.

    Raises:
        LriadError: It is not of the API's form.
    """
    try:
        choice = answer["choices"][0]
        message = choice["message"]
        text = message.get("content") or ""
        reasoning = message.get("reasoning_content") or message.get("reasoning") or ""
        logprobs = choice.get("logprobs") or {}
        tokens = tuple(_token(entry) for entry in logprobs.get("content") or [])
    except (TypeError, KeyError, IndexError, AttributeError, ValueError) as error:
        raise _malformed(base) from error
    if not isinstance(text, str) or not isinstance(reasoning, str):
        raise _malformed(base)
    if reasoning:
        text = f"<think>{reasoning}</think> {text.lstrip()}" if text.strip() else f"<think>{reasoning}"
    return _Answer(text, tokens)


def _token(entry: Any) -> Token:
    logprobs: dict[str, float] = {}
    for item in (entry, *(entry.get("top_logprobs") or [])):
        text, value = item["token"], float(item["logprob"])
        if not isinstance(text, str) or not value <= 1e-3:  # NaN neither
            raise ValueError("not a token with its log-probability")
        # -inf is no JSON and has many spellings; two tokens may read the same.
        logprobs[text] = max(value, logprobs.get(text, -9999.0))
    return Token(entry["token"], logprobs)


def _malformed(base: str) -> LriadError:
    return LriadError(f"{base}: the answer is not of the chat completions API; is the address right (…/v1)?")


def _refusal(name: str, why: str) -> str:
    what = _NO_LOGPROBS if name == "logprobs" else f"the server knows no {name}"
    return f"{what} (it says: {why})"


def _message(content: bytes) -> str:
    """What a server says about a failure, on one short line."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        found = content[:1000].decode("utf-8", "replace")
        found = "" if found.lstrip().startswith("<") else found  # a proxy's page
    for key in ("error", "message", "detail"):
        if isinstance(found, dict) and found.get(key):
            found = found[key]
    if isinstance(found, list) and found and isinstance(found[0], dict):
        place, what = found[0].get("loc"), found[0].get("msg")
        found = f"{place[-1]}: {what}" if isinstance(place, list) and place else what
    return _line(found) if isinstance(found, str) else ""


def _line(text: str) -> str:
    """The first line of somebody else's text, short, without what a terminal would obey."""
    first = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return "".join(char if char.isprintable() else " " for char in first)[:200]


def _session() -> requests.Session:
    import requests

    session = requests.Session()
    adapter = requests.adapters.HTTPAdapter(pool_maxsize=CONCURRENCY)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    key = os.environ.get("OPENAI_API_KEY", "").strip()
    if not (key.isascii() and key.isprintable()):
        raise LriadError("OPENAI_API_KEY: holds characters that no key has; set it anew")

    def sign(request: requests.PreparedRequest) -> requests.PreparedRequest:
        # As an auth, for else a ~/.netrc would take the header's place.
        if key:
            request.headers["Authorization"] = f"Bearer {key}"
        return request

    session.auth = sign
    return session
