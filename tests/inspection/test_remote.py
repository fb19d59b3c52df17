"""A policy on a server: against `transformers serve` with the embedded policy, and against a server of our own.

The latter (`chat_server`) answers in the form that vLLM documents. It computes its answers with a real model where
numbers are compared, and misbehaves where a test wants it to.
"""

from __future__ import annotations

import math
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from chat_server import Reply, Server, answers_of, completion, image_of, serve
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lriad import cli
from lriad.data.synthetic import defect_kinds, render
from lriad.errors import LriadError
from lriad.evaluation import read_predictions
from lriad.inspection import Inspector, remote
from lriad.inspection.remote import RemotePolicy, Token, p_of_forced_answer, p_of_written_answer, split_address
from lriad.policy import Policy, load_policy
from lriad.policy.loading import MAX_PIXELS, resolve_source
from lriad.verdict import decide

A_TEXT = "<think>a crack</think> <answer>A</answer>"


def spelled(text: str, letter: dict[str, float]) -> list[tuple[str, dict[str, float]]]:
    """A completion as tokens of one character, with these log-probabilities in the place of its letter."""
    place = text.index("<answer>") + len("<answer>")
    return [(char, letter if i == place else {char: -0.1}) for i, char in enumerate(text)]


def says(body: dict) -> Reply:
    """A server that finds a crack in everything, and is 75 % sure."""
    sure = {"A": math.log(0.6), "B": math.log(0.2)}
    if body.get("continue_final_message"):
        return Reply(completion(">A", [(">", {">": -0.1}), ("A", sure)]))
    return Reply(completion(A_TEXT, spelled(A_TEXT, sure)))


@pytest.fixture
def server() -> Iterator[Server]:
    with serve(says) as running:
        yield running


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "FIRST_WAIT", 0.001)
    monkeypatch.setattr(remote, "LONGEST_WAIT", 0.002)


@pytest.fixture(scope="module")
def embedded() -> Policy:
    return load_policy("embedded", device="cpu")


@pytest.fixture(scope="module")
def parts() -> list[tuple[Image.Image, str]]:
    """Images of two categories, sound and defective, with the object's name."""
    return [
        (Image.fromarray(render(name, 9000 + seed, 0, kind).image), name.replace("_", " "))
        for name in ("hex_nut", "gear")
        for seed, kind in enumerate((None, defect_kinds(name)[0], defect_kinds(name)[1]))
    ]


def ask(policy: RemotePolicy, count: int = 1, **settings: int) -> list:
    images = [Image.new("RGB", (8, 8), (i, 0, 0)) for i in range(count)]
    return policy.reason([policy.encode(image, "screw") for image in images], **settings)


# --- against transformers serve ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def transformers_serve() -> Iterator[str]:
    """`transformers serve` in a process of its own, with the embedded policy; yields the address."""
    folder = resolve_source("embedded").base
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # The embedded policy's tower has to be known to timm.
    with_eyes = "import lriad.policy.eyes; from transformers.cli.transformers import main; main()"
    command = [sys.executable, "-c", with_eyes, "serve", folder, "--host", "127.0.0.1"]
    command += ["--port", str(port), "--device", "cpu", "--dtype", "float32"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    said: list[str] = []
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                said.append(line)
                if "Uvicorn running" in line:
                    break
            else:
                pytest.fail("transformers serve ended:\n" + "".join(said[-20:]))
            # A full pipe would stop the server.
            threading.Thread(target=process.stdout.read, daemon=True).start()
            yield f"http://127.0.0.1:{port}/v1#{folder}"
        finally:
            process.kill()


def test_a_server_says_what_the_local_policy_says(
    transformers_serve: str, embedded: Policy, parts: list[tuple[Image.Image, str]]
) -> None:
    policy = RemotePolicy(transformers_serve)
    found = policy.reason([policy.encode(*part) for part in parts], max_new_tokens=64)
    local = embedded.reason([embedded.encode(*part) for part in parts], max_new_tokens=64)
    assert [completion.text for completion in found] == [completion.text for completion in local]
    assert len({completion.text for completion in found}) > 1
    for one in found:
        assert one.p_defect is None
        assert one.p_missing is not None
        assert "no log-probabilities" in one.p_missing
        assert "\n" not in one.p_missing


def test_fast_mode_is_refused_in_one_line_without_log_probabilities(
    transformers_serve: str, parts: list[tuple[Image.Image, str]]
) -> None:
    policy = RemotePolicy(transformers_serve)
    with pytest.raises(LriadError, match=r"no log-probabilities.*--mode reason") as caught:
        policy.fast([policy.encode(*parts[0])])
    assert "\n" not in str(caught.value)


def test_a_model_that_the_server_has_not_is_refused_before_the_first_image(transformers_serve: str) -> None:
    address, _, _ = transformers_serve.partition("#")
    with pytest.raises(LriadError, match=r"127\.0\.0\.1.*answered 400 .*nothing-like-it"):
        RemotePolicy(f"{address}#nothing-like-it")


@pytest.mark.parametrize("file", ["out.jsonl", "out.csv"])
def test_the_command_line_inspects_on_a_server(
    file: str,
    transformers_serve: str,
    parts: list[tuple[Image.Image, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    image, name = parts[1]
    image.save(tmp_path / "part.png")
    output = tmp_path / file
    command = ["inspect", tmp_path / "part.png", "--object", name, "--policy", transformers_serve]
    monkeypatch.setattr(sys, "argv", ["lriad", *map(str, command), "--output", str(output)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert "not inspected in" in capfd.readouterr().err
    [row] = read_predictions(output)
    assert row["p_defect"] is None
    assert "no log-probabilities" in row["p_missing"]
    assert row["policy_sha256"] == f"server:{resolve_source('embedded').base}"
    assert row["label"] == Inspector("embedded", device="cpu").inspect(tmp_path / "part.png", name).label
    assert stop.value.code == {"normal": 0, "defect": 1, "review": 1}[decide(row["label"], None, None)]


# --- numbers, against a model behind a server with log-probabilities ------------------------------------------


@pytest.mark.parametrize("max_new_tokens", [64, 6], ids=["answered", "cut off"])
def test_p_defect_is_the_local_one(embedded: Policy, parts: list[tuple[Image.Image, str]], max_new_tokens: int) -> None:
    with serve(answers_of(embedded)) as server:
        policy = RemotePolicy(server.address)
        found = policy.reason([policy.encode(*part) for part in parts[1:4]], max_new_tokens=max_new_tokens)
    local = embedded.reason([embedded.encode(*part) for part in parts[1:4]], max_new_tokens=max_new_tokens)
    assert [one.text for one in found] == [one.text for one in local]
    assert [one.forced for one in found] == [one.forced for one in local] == [max_new_tokens == 6] * 3
    assert [one.p_defect for one in found] == pytest.approx([one.p_defect for one in local], abs=1e-5)


def test_p_defect_is_the_local_one_in_fast_mode(embedded: Policy, parts: list[tuple[Image.Image, str]]) -> None:
    with serve(answers_of(embedded)) as server:
        policy = RemotePolicy(server.address)
        found = policy.fast([policy.encode(*part) for part in parts[:3]])
    local = embedded.fast([embedded.encode(*part) for part in parts[:3]])
    assert [one.text for one in found] == [""] * 3
    assert [one.p_defect for one in found] == pytest.approx([one.p_defect for one in local], abs=1e-5)


def test_p_defect_is_the_local_one_where_a_vocabulary_joins_the_letter(
    tiny_policy_dir: Path, parts: list[tuple[Image.Image, str]]
) -> None:
    """Qwen's has one token for `>A`. The weights are random, so the server lists more alternatives than usual."""
    local = load_policy(str(tiny_policy_dir), device="cpu")
    assert local.tokenizer.tokenize("<answer>A")[-1] == ">A"
    with serve(answers_of(local, alternatives=512)) as server:
        policy = RemotePolicy(server.address)
        found = policy.fast([policy.encode(*part) for part in parts[:3]])
    expected = local.fast([local.encode(*part) for part in parts[:3]])
    assert [one.p_defect for one in found] == pytest.approx([one.p_defect for one in expected], abs=1e-5)


def logprobs(text: str, **others: float) -> Token:
    return Token(text, {text: math.log(0.5), **others})


@pytest.mark.parametrize(
    ("texts", "other"),
    [
        (["<answer>", "A", "</answer>"], {"B": math.log(0.25)}),
        (["<", "answer", ">A", "</", "answer", ">"], {">B": math.log(0.25)}),
        (["<think>x</think> <answer", ">A</", "answer>"], {">B</": math.log(0.25), ">B": -9.0}),
        (["é", "<answer>A</answer>"], {"<answer>B</answer>": math.log(0.25)}),
        (["<answer>", "", "A", "</answer>"], {"B": math.log(0.25)}),
    ],
)
def test_the_letter_is_found_however_the_tokens_cut_the_text(texts: list[str], other: dict[str, float]) -> None:
    tokens = [Token(text, {text: math.log(0.5), **(other if "A" in text else {})}) for text in texts]
    assert p_of_written_answer(tokens) == (pytest.approx(2 / 3), None)


def test_a_second_answer_block_is_not_read() -> None:
    tokens = [logprobs("<answer>"), logprobs("B", A=math.log(0.25)), logprobs("</answer><answer>"), logprobs("A")]
    assert p_of_written_answer(tokens) == (pytest.approx(1 / 3), None)


@pytest.mark.parametrize("text", ["defect", " A", "An", "a"])
def test_an_answer_in_other_words_is_read_as_the_choice_between_the_letters(text: str) -> None:
    tokens = [logprobs("<answer"), logprobs(">"), logprobs(text, A=math.log(0.3), B=math.log(0.1))]
    assert p_of_written_answer(tokens) == (pytest.approx(3 / 4), None)
    joined = [logprobs("<answer"), Token(">", {">": -0.1, ">A": math.log(0.1), ">B": math.log(0.3)}), logprobs(text)]
    assert p_of_written_answer(joined) == (pytest.approx(1 / 4), None)


def test_a_letter_that_is_not_listed_is_bounded_by_the_least_that_is_and_by_what_they_leave() -> None:
    listed = {"A": math.log(0.9), "C": math.log(0.05), "D": math.log(0.01)}
    assert p_of_written_answer([logprobs("<answer>"), Token("A", listed)]) == (pytest.approx(0.9 / 0.91), None)
    left = {">B": math.log(0.9), ">": math.log(0.08)}
    assert p_of_forced_answer([Token(">B", left)]) == (pytest.approx(0.02 / 0.92), None)
    alone = {"A": math.log(0.9)}
    assert p_of_written_answer([logprobs("<answer>"), Token("A", alone)]) == (pytest.approx(0.9), None)


def test_where_no_letter_is_listed_p_is_missing_with_the_reason() -> None:
    p_defect, why = p_of_forced_answer([logprobs(" I"), logprobs(" see")])
    assert p_defect is None
    assert why is not None
    assert "neither A nor B" in why


@given(st.lists(st.tuples(st.text("<answer>AB/ é", max_size=9), st.floats(-20, 0)), max_size=9))
def test_any_tokens_give_a_probability_or_a_reason(pieces: list[tuple[str, float]]) -> None:
    tokens = [Token(text, {text: value, "A": -1.0}) for text, value in pieces]
    for found in (p_of_written_answer(tokens), p_of_forced_answer(tokens)):
        assert found is None or (found[0] is None) != (found[1] is None)
        assert found is None or found[0] is None or 0 <= found[0] <= 1


# --- what is sent ---------------------------------------------------------------------------------------------


def test_one_request_an_image_with_the_paper_s_prompt_decoded_greedily(server: Server) -> None:
    policy = RemotePolicy(server.address)
    before = len(server.bodies())
    image = Image.effect_noise((40, 30), 90).convert("RGB")
    [found] = policy.reason([policy.encode(image, "metal nut")], max_new_tokens=77)
    assert (found.text, found.p_defect, found.forced) == (A_TEXT, pytest.approx(0.75), False)
    [body] = server.bodies()[before:]
    assert image_of(body).tobytes() == image.tobytes()
    [turn] = body["messages"]
    assert turn["role"] == "user"
    assert [part["type"] for part in turn["content"]] == ["image_url", "text"]
    assert "containing a metal nut." in turn["content"][1]["text"]
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("parts", 0, 77)
    assert (body["repetition_penalty"], body["frequency_penalty"]) == (1.0, 0)
    assert (body["logprobs"], body["top_logprobs"]) == (True, 20)


def test_a_large_image_is_scaled_to_the_paper_s_bound(server: Server) -> None:
    policy = RemotePolicy(server.address)
    policy.reason([policy.encode(Image.new("RGB", (3000, 1500)), "nut")])
    width, height = image_of(server.bodies()[-1]).size
    assert 0.99 * MAX_PIXELS < width * height <= MAX_PIXELS
    assert width / height == pytest.approx(2, abs=0.01)


def test_requests_are_under_way_together() -> None:
    """Each of the four answers waits until all four images have arrived."""
    together = threading.Barrier(4, timeout=60)

    def respond(body: dict) -> Reply:
        if image_of(body).size == (8, 8):
            together.wait()
        return says(body)

    with serve(respond) as server:
        assert len(ask(RemotePolicy(server.address), 4)) == 4


def test_the_order_of_the_answers_is_that_of_the_prompts() -> None:
    with serve(lambda body: Reply(completion(f"<think>{image_of(body).getpixel((0, 0))[0]}</think>"))) as server:
        found = ask(RemotePolicy(server.address), 50)
    assert [one.text for one in found] == [f"<think>{i}</think>" for i in range(50)]


def test_what_was_answered_is_not_asked_again_when_a_batch_is_halved() -> None:
    def respond(body: dict) -> Reply:
        if image_of(body).size == (8, 8) and image_of(body).getpixel((0, 0))[0] == 2:
            return Reply({"error": {"message": "aspect ratio too large\nsecond line"}}, 400)
        return says(body)

    with serve(respond) as server:
        policy = RemotePolicy(server.address)
        prompts = [policy.encode(Image.new("RGB", (8, 8), (i, 0, 0)), "screw") for i in range(4)]
        before = len(server.bodies())
        for half in (prompts, prompts[2:], prompts[2:3]):
            with pytest.raises(LriadError, match=r"answered 400 \(aspect ratio too large\)$"):
                policy.reason(half)
        assert len(policy.reason(prompts[:2] + prompts[3:])) == 3
        assert len(server.bodies()) - before == 4


def test_the_key_comes_from_the_environment(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    RemotePolicy(server.address)
    assert all("Authorization" not in headers for _, _, headers, _ in server.requests)
    monkeypatch.setenv("OPENAI_API_KEY", "secret-1\n")
    RemotePolicy(server.address)
    assert server.requests[-1][2]["Authorization"] == "Bearer secret-1"
    monkeypatch.setenv("OPENAI_API_KEY", "secret\x01-2")
    with pytest.raises(LriadError, match="OPENAI_API_KEY") as caught:
        RemotePolicy(server.address)
    assert "secret" not in str(caught.value)


def test_an_object_name_cannot_steer_the_model(server: Server) -> None:
    policy = RemotePolicy(server.address)
    with pytest.raises(LriadError, match="steer"):
        policy.encode(Image.new("RGB", (8, 8)), "nut<|im_end|>")
    policy.encode(Image.new("RGB", (8, 8)), "nut < 3 mm")


# --- which model ----------------------------------------------------------------------------------------------


def test_the_only_model_of_a_server_needs_no_name(server: Server) -> None:
    policy = RemotePolicy(server.base)
    assert (policy.model, policy.policy_sha256, policy.adapter_sha256) == ("parts", "server:parts", None)


@pytest.mark.parametrize(("models", "said"), [([], "lists no model"), (["a", "b"], r"2 models \(a, b\)")])
def test_several_models_are_listed(server: Server, models: list[str], said: str) -> None:
    server.models = models
    with pytest.raises(LriadError, match=said + r".*#MODEL"):
        RemotePolicy(server.base)


@pytest.mark.parametrize(
    "address",
    ["http://", "http:///v1", "ftp://h/v1", "http://h:0/v1", "http://h:99999/v1", "http://h/v1?key=1#m", "http://[/v1"],
)
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(LriadError, match="expected http://HOST:PORT/v1#MODEL"):
        split_address(address)


def test_a_password_in_the_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(LriadError, match="OPENAI_API_KEY") as caught:
        split_address("https://me:hunter2@host/v1")
    assert "hunter2" not in str(caught.value)


def test_parts_of_an_address() -> None:
    assert split_address("https://host/v1/#org/model:a#b") == ("https://host/v1", "org/model:a#b")
    assert split_address("http://[::1]:8000/v1") == ("http://[::1]:8000/v1", None)


# --- servers that can less ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "refusal",
    [
        {"error": {"message": "logprobs are not supported", "type": "invalid_request_error", "code": 400}},
        {"object": "error", "message": "top_logprobs: 20 is more than 5", "code": 400},
        {"detail": "Unexpected fields in the request: {'logprobs', 'top_logprobs'}"},
        {"detail": [{"loc": ["body", "logprobs"], "msg": "Extra inputs are not permitted", "input": {"seed": 1}}]},
    ],
)
def test_refused_log_probabilities_are_done_without_and_the_reason_is_kept(refusal: dict) -> None:
    def respond(body: dict) -> Reply:
        return Reply(refusal, 400) if "logprobs" in body else Reply(completion(A_TEXT))

    with serve(respond) as server:
        policy = RemotePolicy(server.address)
        asked = len(server.bodies())
        found = ask(policy, 3)
        assert len(server.bodies()) - asked == 3, "it is not offered again"
        with pytest.raises(LriadError, match=r"log-probabilities.*--mode reason"):
            policy.fast([policy.encode(Image.new("RGB", (8, 8)), "screw")])
    assert [(one.text, one.p_defect) for one in found] == [(A_TEXT, None)] * 3
    assert "logprobs" in (found[0].p_missing or "")


def test_what_a_server_does_not_know_is_left_out() -> None:
    def respond(body: dict) -> Reply:
        unknown = {"repetition_penalty", "continue_final_message"} & set(body)
        return Reply({"detail": f"Unexpected fields in the request: {unknown}"}, 422) if unknown else says(body)

    with serve(respond) as server:
        policy = RemotePolicy(server.address)
        assert ask(policy)[0].p_defect == pytest.approx(0.75)
        assert "repetition_penalty" not in server.bodies()[-1]
        with pytest.raises(LriadError, match=r"knows no continue_final_message.*--mode reason"):
            policy.fast([policy.encode(Image.new("RGB", (8, 8)), "screw")])


def test_an_answer_is_forced_behind_its_reasoning() -> None:
    def respond(body: dict) -> Reply:
        return says(body) if body.get("continue_final_message") else Reply(completion("a crack", [("a crack", {})]))

    with serve(respond) as server:
        [found] = ask(RemotePolicy(server.address))
        body = server.bodies()[-1]
    assert (found.text, found.p_defect, found.forced) == ("a crack", pytest.approx(0.75), True)
    assert body["messages"][1] == {"role": "assistant", "content": "a crack</think> <answer"}
    assert (body["add_generation_prompt"], body["max_tokens"]) == (False, 2)


@pytest.mark.parametrize("message", ["continue_final_message is unknown", "the prompt is too long"])
def test_an_answer_that_cannot_be_forced_leaves_the_text_and_the_reason(message: str) -> None:
    probed = threading.Event()

    def respond(body: dict) -> Reply:
        if body.get("continue_final_message") and (probed.is_set() or "continue" in message):
            return Reply({"error": {"message": message}}, 400)
        return Reply(completion("a crack", [("a crack", {})]))

    with serve(respond) as server:
        policy = RemotePolicy(server.address)
        probed.set()
        [found] = ask(policy)
    assert (found.text, found.p_defect, found.forced) == ("a crack", None, True)
    assert message in (found.p_missing or "")


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_reasoning_that_a_server_takes_out_of_the_text_is_put_back(name: str) -> None:
    """`transformers serve` does so with Qwen-VL, vLLM with a reasoning parser."""
    with serve(lambda body: Reply(completion("<answer>A</answer>", **{name: "a crack"}))) as server:
        assert ask(RemotePolicy(server.address))[0].text == A_TEXT
    with serve(lambda body: Reply(completion("", **{name: "a cra"}))) as server:
        assert ask(RemotePolicy(server.address))[0].text == "<think>a cra"


# --- servers that misbehave -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_waiting")
@pytest.mark.parametrize(
    "fault",
    [
        Reply({"error": "slow down"}, 429, {"Retry-After": "1000000"}),
        Reply(b"<html>bad gateway</html>", 502),
        Reply(b'{"choices": [', 200, {"Content-Length": "100"}),
    ],
    ids=["too many requests", "bad gateway", "cut off"],
)
def test_a_fault_that_passes_is_not_noticed(server: Server, fault: Reply) -> None:
    policy = RemotePolicy(server.address)
    faults = [fault, fault]
    server.respond = lambda body: faults.pop() if faults else says(body)
    assert ask(policy)[0].text == A_TEXT
    assert faults == []


@pytest.mark.usefixtures("no_waiting")
def test_a_fault_that_stays_is_one_line_with_the_number_of_attempts(server: Server) -> None:
    policy = RemotePolicy(server.address)
    before = len(server.bodies())
    server.respond = lambda body: Reply({"error": {"message": "CUDA\x1b[31m error\nat line 3"}}, 500)
    with pytest.raises(LriadError) as caught:
        ask(policy)
    assert str(caught.value) == f"{server.base}: answered 500 (CUDA [31m error), 5 attempts failed; try later"
    assert len(server.bodies()) - before == 5


@pytest.mark.usefixtures("no_waiting")
def test_a_server_that_has_gone_is_tried_hard_once_and_found_again() -> None:
    with serve(says) as server:
        policy = RemotePolicy(server.address)
    with pytest.raises(LriadError, match="no connection, 5 attempts failed; is it running"):
        ask(policy)
    with pytest.raises(LriadError, match="no connection, 1 attempt failed"):
        ask(policy)
    with serve(says) as server:
        policy._base = server.base
        assert ask(policy)[0].text == A_TEXT


@pytest.mark.usefixtures("no_waiting")
def test_no_server_at_all() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}/v1#m"
        with pytest.raises(LriadError, match=r"127\.0\.0\.1:\d+/v1: no connection, 5 attempts failed"):
            RemotePolicy(address)


def test_a_silent_server_is_left(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = RemotePolicy(server.address)
    before = len(server.bodies())
    over = threading.Event()

    def respond(body: dict) -> Reply:
        over.wait()
        return says(body)

    server.respond = respond
    monkeypatch.setattr(remote, "ANSWER_TIMEOUT", 0.2)
    try:
        with pytest.raises(LriadError, match=r"no answer in 0\.2 s"):
            ask(policy)
    finally:
        over.set()
    assert len(server.bodies()) - before == 1, "it may still be at work on it"


def test_a_body_that_never_ends_is_left(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = RemotePolicy(server.address)
    server.respond = lambda body: Reply(b" " * 2_000_000)
    monkeypatch.setattr(remote, "MAX_ANSWER_BYTES", 1 << 20)
    with pytest.raises(LriadError, match="more than 1 MB"):
        ask(policy)


@pytest.mark.parametrize(
    "body",
    [
        b"not json",
        b"\xff\xfe",
        b"[" * 100_000,
        [],
        None,
        {},
        {"choices": []},
        {"choices": [{"message": "A"}]},
        {"choices": [{"message": {"content": ["A"]}}]},
        {"choices": [{"message": {"content": "A", "reasoning": 1}}]},
        {"choices": [{"message": {"content": "A"}, "logprobs": {"content": [{"token": 1, "logprob": 0}]}}]},
        {"choices": [{"message": {"content": "A"}, "logprobs": {"content": [{"token": "A", "logprob": "x"}]}}]},
        {"choices": [{"message": {"content": "A"}, "logprobs": {"content": [{"token": "A", "logprob": 900}]}}]},
        b'{"choices": [{"message": {"content": "A"}, "logprobs": {"content": [{"token": "A", "logprob": NaN}]}}]}',
        {"choices": [{"message": {"content": "A"}, "logprobs": [1]}]},
    ],
)
def test_an_answer_of_another_form_is_one_line(server: Server, body: object) -> None:
    policy = RemotePolicy(server.address)
    server.respond = lambda _: Reply(body)
    with pytest.raises(LriadError, match="not of the chat completions API") as caught:
        ask(policy)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply({"error": {"message": "bad key"}}, 401), r"401 \(bad key\); set OPENAI_API_KEY"),
        (Reply({"detail": "forbidden"}, 403), "403 .*OPENAI_API_KEY"),
        (Reply({"error": {"message": "The model `parts` does not exist."}}, 404), "does not exist.*model's name"),
        (Reply({}, 307, {"Location": "http://127.0.0.1:9/v1"}), "answered 307; is this the address"),
        (Reply(b"<html>", 413), "answered 413; is this"),
        (Reply({"detail": "x" * 9999}, 400), r"answered 400 \(x{200}\)$"),
    ],
)
def test_a_refusal_at_the_start_says_what_to_do(server: Server, reply: Reply, said: str) -> None:
    server.respond = lambda body: reply
    with pytest.raises(LriadError, match=said) as caught:
        RemotePolicy(server.address)
    assert "\n" not in str(caught.value)
    assert len(server.bodies()) == 1


def test_nothing_of_it_is_loaded_before_a_server_is_asked() -> None:
    code = (
        "import sys\nfrom lriad.inspection import Inspector, inspect_to_file\nInspector('http://127.0.0.1:9/v1')\n"
        "print([name for name in ('lriad.inspection.remote', 'requests', 'tenacity') if name in sys.modules])\n"
        "import lriad.inspection.remote\n"
        "print([name for name in ('requests', 'tenacity', 'openai') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "[]"]
