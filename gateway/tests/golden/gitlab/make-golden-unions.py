"""Writes unions.json: what the gateway of 2023 answers to bodies of its two routes that choose among models by a member.

Run as make-golden.py, which it builds on; the file's form is the same, with the route in `path`.
"""
import importlib.util
import json
import pathlib
from enum import Enum
from typing import Annotated, Literal, Optional, Union
from uuid import uuid4

from fastapi import Response
from pydantic import BaseModel, Field, confloat, conint, conlist, constr

spec = importlib.util.spec_from_file_location("golden", pathlib.Path(__file__).with_name("make-golden.py"))
golden = importlib.util.module_from_spec(spec)
spec.loader.exec_module(golden)


class SuggestionsRequestV1(golden.Suggestions):
    prompt_version: Literal[1] = 1


class SuggestionsRequestV2(golden.Suggestions):
    prompt_version: Literal[2]
    prompt: str


class ModelRollout(str, Enum):
    GOOGLE_TEXT_BISON = "text-bison"
    GOOGLE_CODE_BISON = "code-bison"
    GOOGLE_CODE_GECKO = "code-gecko"


class ModelVertexTextBison(BaseModel):
    class Parameters(BaseModel):
        temperature: confloat(ge=0.0, le=1.0) = 0.2
        max_output_tokens: conint(ge=1, le=1024) = 16
        top_p: confloat(ge=0.0, le=1.0) = 0.95
        top_k: conint(ge=1, le=40) = 40

    name: Literal[ModelRollout.GOOGLE_TEXT_BISON]
    content: constr(max_length=100000)
    parameters: Parameters


class ModelVertexCodeBison(BaseModel):
    class Parameters(BaseModel):
        temperature: confloat(ge=0.0, le=1.0) = 0.2
        max_output_tokens: conint(ge=1, le=2048) = 16

    name: Literal[ModelRollout.GOOGLE_CODE_BISON]
    prefix: constr(max_length=100000)
    parameters: Parameters


class ModelVertexCodeGecko(BaseModel):
    class Parameters(BaseModel):
        temperature: confloat(ge=0.0, le=1.0) = 0.2
        max_output_tokens: conint(ge=1, le=64) = 16

    name: Literal[ModelRollout.GOOGLE_CODE_GECKO]
    prefix: constr(max_length=100000)
    suffix: constr(max_length=100000)
    parameters: Parameters


class Experimental(BaseModel):
    id: str = Field(default_factory=lambda: uuid4().hex)
    prompt_version: Literal[1] = 1
    project_id: Optional[int]
    project_path: Optional[constr(strip_whitespace=True, max_length=255)]
    file_name: Optional[constr(strip_whitespace=True, max_length=255)]
    model: Union[ModelVertexTextBison, ModelVertexCodeBison, ModelVertexCodeGecko] = Field(..., discriminator="name")
    telemetry: conlist(golden.Telemetry, max_items=10) = []


GENERATIONS = "/v2/code/generations"
EXPERIMENTAL = "/v2/experimental/code/completions"


@golden.app.post(GENERATIONS)
async def generations(payload: Annotated[Union[SuggestionsRequestV1, SuggestionsRequestV2], Field(discriminator="prompt_version")]):
    prompt = payload.prompt if payload.prompt_version >= 2 else None
    read = {"version": payload.prompt_version, "prompt": golden.text(prompt), "prefix": golden.text(payload.current_file.content_above_cursor)}
    return Response(json.dumps(read), media_type="application/json")


@golden.app.post(EXPERIMENTAL)
async def experimental(payload: Experimental):
    model, parameters = payload.model, payload.model.parameters
    read = {
        "model": model.name.value,
        "prefix": golden.text(model.content if model.name == "text-bison" else model.prefix),
        "suffix": golden.text(getattr(model, "suffix", "")),
        "file_name": golden.text(payload.file_name),
        "temperature": parameters.temperature,
        "max_output_tokens": parameters.max_output_tokens,
        "top_p": getattr(parameters, "top_p", None),
    }
    return Response(json.dumps(read), media_type="application/json")


FILE = golden.FILE
CASES = []


def generation(body, ours=None):
    CASES.append((GENERATIONS, body, ours))


def experiment(body, ours=None):
    CASES.append((EXPERIMENTAL, body, ours))


for body in ("", "null", "[]", "[1]", '""', '"abc"', "1", "true", "{}", "{", "{" + FILE + "}", '{"prompt_version":1}', '{"prompt_version":2}',
             '{"prompt_version":1,' + FILE + "}", '{"prompt_version":true,' + FILE + "}", '{"prompt_version":1.0,' + FILE + "}",
             '{"prompt_version":2,' + FILE + "}", '{"prompt_version":2,"prompt":"write",' + FILE + "}", '{"prompt_version":2.0,"prompt":"",' + FILE + "}",
             '{"prompt_version":2,"prompt":5,' + FILE + "}", '{"prompt_version":2,"prompt":null,' + FILE + "}", '{"prompt_version":2,"prompt":["a"],' + FILE + "}",
             '{"prompt_version":1,"prompt":[],' + FILE + "}", '{"prompt_version":3,"prompt":[],' + FILE + "}", '{"prompt_version":"1",' + FILE + "}",
             '{"prompt_version":null,' + FILE + "}", '{"prompt_version":1.5,' + FILE + "}", '{"prompt_version":"it\'s",' + FILE + "}", '{"prompt_version":"",' + FILE + "}",
             '{"prompt_version":false,' + FILE + "}", '{"prompt_version":-1,' + FILE + "}", '{"prompt_version":123456789012345678901234567890,' + FILE + "}",
             '{"prompt_version":1,"prompt_version":2,"prompt":"x",' + FILE + "}", '[["prompt_version",1]]',
             '{"prompt_version":2,"project_id":"x","telemetry":[{}],"current_file":{"file_name":null}}', '{"prompt_version":1,"current_file":[]}',
             '{"prompt_version":1,"current_file":{"file_name":"a","content_above_cursor":[],"content_below_cursor":""}}'):
    generation(body)

GECKO = '"name":"code-gecko","prefix":"p","suffix":"s","parameters":{}'
for body in ("", "null", "[]", "{}", '""', "{", '{"model":null}', '{"model":[]}', '{"model":"code-gecko"}', '{"model":1}', '{"model":{}}', '{"model":{"name":null}}',
             '{"model":{"name":"gpt"}}', '{"model":{"name":1}}', '{"model":{"name":"code-gecko"}}', '{"model":{"name":"code-bison"}}', '{"model":{"name":"text-bison"}}',
             '{"model":{' + GECKO + "}}", '{"id":"mine","file_name":" a.py ","project_id":"7","model":{' + GECKO + '}}', '{"id":null,"model":{' + GECKO + "}}", '{"id":5,"model":{' + GECKO + "}}",
             '{"prompt_version":2,"project_path":[],"file_name":{},"telemetry":{},"model":{' + GECKO + "}}",
             '{"model":{"name":"text-bison","content":"c","parameters":{"temperature":0,"max_output_tokens":1024,"top_p":1,"top_k":1}}}',
             '{"model":{"name":"text-bison","content":"c","parameters":{"temperature":2,"max_output_tokens":1025,"top_p":-1,"top_k":41}}}',
             '{"model":{"name":"text-bison","content":"c","parameters":{"temperature":"0.5","max_output_tokens":"7","top_p":" 1 ","top_k":0}}}',
             '{"model":{"name":"code-bison","prefix":"p","suffix":"ignored","parameters":{"max_output_tokens":2048,"top_k":99}}}',
             '{"model":{"name":"code-bison","prefix":"p","parameters":{"max_output_tokens":2049,"temperature":-0.1}}}',
             '{"model":{"name":"code-gecko","prefix":"p","suffix":"s","parameters":{"max_output_tokens":65}}}',
             '{"model":{"name":"code-gecko","prefix":"p","suffix":"s","parameters":{"max_output_tokens":0,"temperature":NaN}}}',
             '{"model":{"name":"code-gecko","prefix":"p","suffix":"s","parameters":{"max_output_tokens":"x","temperature":"x"}}}',
             '{"model":{"name":"code-gecko","prefix":"p","suffix":"s","parameters":{"max_output_tokens":null,"temperature":true}}}',
             '{"model":{"name":"code-gecko","prefix":"p","suffix":"s","parameters":{"temperature":[]}}}',
             '{"model":{"name":"code-gecko","prefix":"p","suffix":"s","parameters":null}}', '{"model":{"name":"code-gecko","prefix":"p","suffix":"s","parameters":[]}}',
             '{"model":{"name":"code-gecko","prefix":null,"suffix":[],"parameters":"x"}}'):
    experiment(body)

entries = []
for path, body, ours in CASES:
    status, answer = golden.ask("application/json", body.encode(), path)
    entry = {"path": path, "body": body, "status": status}
    entry["read" if status == 200 else "answer"] = json.loads(answer) if status == 200 else answer
    entries.append(json.dumps(entry))
print("[\n" + ",\n".join(entries) + "\n]")
