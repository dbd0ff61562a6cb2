"""The official `openai` package, unmodified, against a gateway: BASE_URL, API_KEY and MODEL are in the environment.

Prints one line for each thing that held; any exception is a failure.
"""

import asyncio
import os

import openai

base, key, model = os.environ["BASE_URL"], os.environ["API_KEY"], os.environ["MODEL"]
client = openai.OpenAI(base_url=base, api_key=key, max_retries=0)
text = "the quick brown fox"
said = [{"role": "user", "content": "Say it"}]


def held(what):
    print(f"held: {what}")


answer = client.chat.completions.create(model=model, messages=said)
assert answer.choices[0].message.content == text, answer
assert answer.choices[0].finish_reason == "stop" and answer.usage.completion_tokens == 4, answer
held("chat")

pieces = list(client.chat.completions.create(model=model, messages=said, stream=True))
assert "".join(piece.choices[0].delta.content or "" for piece in pieces) == text, pieces
assert all(piece.usage is None for piece in pieces), "usage was not asked for"
assert len(pieces) > 3, "piece by piece"
held("chat, streamed")

pieces = list(
    client.chat.completions.create(
        model=model, messages=said, stream=True, stream_options={"include_usage": True}
    )
)
assert "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices) == text, pieces
assert pieces[-1].choices == [] and pieces[-1].usage.total_tokens == 7, pieces[-1]
held("chat, streamed with usage")

answer = client.completions.create(model=model, prompt="Say it: ", suffix=".", max_tokens=16)
assert answer.choices[0].text == text and answer.usage.prompt_tokens == 3, answer
held("completions")

pieces = list(
    client.completions.create(
        model=model, prompt="Say it: ", stream=True, stream_options={"include_usage": True}
    )
)
assert "".join(piece.choices[0].text for piece in pieces if piece.choices) == text, pieces
assert pieces[-1].usage.total_tokens == 7, pieces[-1]
held("completions, streamed with usage")

vectors = client.embeddings.create(model=model, input=["a", "b"])
assert [len(item.embedding) for item in vectors.data] == [3, 3], vectors
assert abs(vectors.data[1].embedding[2] - 0.25) < 1e-6, "base64 and numbers mean the same"
held("embeddings")

assert model in [known.id for known in client.models.list()], "models"
assert client.models.retrieve(model).id == model
held("models")

for ask, kind in [
    (lambda: client.models.retrieve("nobody"), openai.NotFoundError),
    (lambda: client.completions.create(model="nobody", prompt="x"), openai.NotFoundError),
    (lambda: client.completions.create(model=model, prompt="x", stream="yes"), openai.BadRequestError),
    (
        lambda: client.with_options(api_key="wrong").chat.completions.create(model=model, messages=said),
        openai.AuthenticationError,
    ),
]:
    try:
        ask()
    except kind as error:
        assert error.body["message"] and error.body["code"], error.body
    else:
        raise AssertionError(f"{kind.__name__} was expected")
held("errors of their own kinds")


async def at_once():
    several = openai.AsyncOpenAI(base_url=base, api_key=key, max_retries=0)
    asked = [several.chat.completions.create(model=model, messages=said) for _ in range(16)]
    answers = await asyncio.gather(*asked)
    assert all(answer.choices[0].message.content == text for answer in answers)


asyncio.run(at_once())
held("many at once")
print("version", openai.__version__)
