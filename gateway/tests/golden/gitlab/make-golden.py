"""Writes requests.json: what FastAPI and pydantic of the 2023 gateway answer to each body, and what they read from it.

    python3.11 -m venv venv
    venv/bin/pip install fastapi==0.82.0 pydantic==1.10.8 starlette==0.19.1
    venv/bin/python make-golden.py > requests.json

A body is a list of parts: a string, {"repeat": s, "times": n}, or {"hex": "..."}. `ours` says what the gateway answers
where the original fails with a 500 or where its answer depends on its own stack depth. Python 3.11 is part of the pin:
its json module words the errors.
"""
import asyncio
import json
import sys
from typing import List, Literal, Optional

from fastapi import FastAPI, Response
from pydantic import BaseModel, conlist, constr


class CurrentFile(BaseModel):
    file_name: constr(strip_whitespace=True, max_length=255)
    language_identifier: Optional[constr(max_length=255)]
    content_above_cursor: constr(max_length=100000)
    content_below_cursor: constr(max_length=100000)


class Experiment(BaseModel):
    name: str
    variant: int


class Telemetry(BaseModel):
    model_engine: Optional[constr(max_length=50)]
    model_name: Optional[constr(max_length=50)]
    lang: Optional[constr(max_length=50)]
    experiments: Optional[List[Experiment]]
    requests: int
    accepts: int
    errors: int


class Suggestions(BaseModel):
    project_path: Optional[constr(strip_whitespace=True, max_length=255)]
    project_id: Optional[int]
    current_file: CurrentFile
    telemetry: conlist(Telemetry, max_items=10) = []


class Payload(Suggestions):
    prompt_version: Literal[1] = 1


app = FastAPI()


def text(value):
    """A lone surrogate cannot be held in UTF-8; the gateway keeps U+FFFD in its place. Long texts by length only."""
    if value is None:
        return None
    value = "".join("\ufffd" if 0xD800 <= ord(c) <= 0xDFFF else c for c in value)
    return value if len(value) <= 400 else f"{len(value)} code points"


def count(value):
    """The gateway clamps what a Prometheus counter cannot take."""
    return max(0, min(value, 2**64 - 1))


@app.post("/v2/completions")
async def completions(payload: Payload):
    read = {
        "prompt_version": payload.prompt_version,
        "project_path": text(payload.project_path),
        "project_id": None if payload.project_id is None else str(payload.project_id),
        "file_name": text(payload.current_file.file_name),
        "language_identifier": text(payload.current_file.language_identifier),
        "prefix": text(payload.current_file.content_above_cursor),
        "suffix": text(payload.current_file.content_below_cursor),
        "telemetry": [
            {
                "model_engine": text(t.model_engine),
                "model_name": text(t.model_name),
                "lang": text(t.lang),
                "experiments": [[text(e.name), str(e.variant)] for e in t.experiments or []],
                "requests": count(t.requests),
                "accepts": count(t.accepts),
                "errors": count(t.errors),
            }
            for t in payload.telemetry
        ],
    }
    return Response(json.dumps(read), media_type="application/json")


def encode(parts):
    out = b""
    for part in parts:
        if isinstance(part, str):
            out += part.encode()
        elif "hex" in part:
            out += bytes.fromhex(part["hex"])
        else:
            out += part["repeat"].encode() * part["times"]
    return out


def ask(content_type, body, path="/v2/completions"):
    headers = [] if content_type is None else [(b"content-type", content_type.encode("latin-1"))]
    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
             "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
             "headers": headers, "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80)}
    status, chunks = None, []

    async def receive():
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message):
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        else:
            chunks.append(message.get("body", b""))

    try:
        asyncio.run(app(scope, receive, send))
    except Exception as error:  # the 500 is already sent
        print(f"note: {error!r:.100}", file=sys.stderr)
    return status, b"".join(chunks).decode()


JSON = "application/json"
FILE = '"current_file":{"file_name":"a.py","content_above_cursor":"p","content_below_cursor":"s"}'
VALID = "{" + FILE + "}"
CASES = []


def case(name, *parts, content_type=JSON, ours=None):
    CASES.append((name, content_type, list(parts), ours))


def field(name, value, ours=None):
    """A valid body with one more top-level member."""
    case(f"{name} = {value[:90]}", "{" + f'"{name}":{value},' + FILE + "}", ours=ours)


def current(name, value, ours=None):
    members = {"file_name": '"a.py"', "content_above_cursor": '"p"', "content_below_cursor": '"s"'}
    members[name] = value
    case(f"current_file.{name} = {value[:90]}",
         '{"current_file":{' + ",".join(f'"{k}":{v}' for k, v in members.items()) + "}}", ours=ours)


def telemetry(value):
    field("telemetry", value)


def counted(extra, requests="1", accepts="0", errors="0"):
    return f'{{"requests":{requests},"accepts":{accepts},"errors":{errors}{extra}}}'


# Bodies as a whole.
case("empty object", "{}")
case("no body")
case("no body, no content type", content_type=None)
case("null", "null")
case("null in spaces", " null\n")
case("valid", VALID)
case("empty array acts as empty object", "[]")
case("empty string acts as empty object", '""')
case("array of pairs acts as object", '[["current_file",{"file_name":"a","content_above_cursor":"","content_below_cursor":""}]]')
case("array of pairs, later wins", '[["project_id",1],["project_id",2],["current_file",[["file_name","x"],["content_above_cursor","a"],["content_below_cursor","b"]]]]')
case("array of two-letter strings", '["ab","cd"]')
case("array of objects with two members", '[{"a":1,"b":2}]')
case("array of three", "[[1,2,3]]")
case("array of numbers", "[1]")
case("array of pairs with numbers as keys", "[[1,2]]")
case("array of pairs with null as key", "[[null,2]]")
case("array of pairs with list as key", "[[[],2]]")
case("array of pairs with object as key", "[[{},2]]")
case("string", '"abc"')
case("string of two", '"ab"')
for scalar in ("0", "1", "false", "true", "1.5", "NaN", "Infinity", "-Infinity"):
    case(f"scalar {scalar}", scalar)
# Content types.
for kind in (None, "", " application/json", "application/json; charset=utf-8", "APPLICATION/JSON", "application/vnd.x+json",
             "application/vnd.x+JSON ; v=1", "text/plain", "text/json", "application/x-www-form-urlencoded",
             "application", "application/json/x", "application/jsonx", "application /json", ";", "application/json;",
             "multipart/form-data; boundary=x", "application/+json"):
    case(f"content type {kind!r}", VALID, content_type=kind)
case("text/plain with bad JSON", "{", content_type="text/plain")
case("text/plain with invalid UTF-8", {"hex": "ff"}, content_type="text/plain")
# Malformed JSON.
for bad in ('{', '{ ', '{"a', '{"a"', '{"a" ', '{"a":', '{"a": ', '{"a":1', '{"a":1 ', '{"a":1,', '{"a":1, ', '{"a":1,}',
            '{"a":1 ,}', '{"a":1 "b":2}', '{"a" 1}', '{a:1}', "{'a':1}", '{,}', '{1:2}', '{"prompt_version":}', '[', '[ ', '[1', '[1 ',
            '[1,', '[1, ', '[1,]', '[1, ]', '[1 2]', '[,1]', ']', '}', 'x', ' x', '\n\n  x', '\r\nx', '\u00e9', '\U0001f600', '{"\U0001f600":x}',
            'nul', 'nulll', 'tru', 'fals', 'True', 'None', 'undefined', 'NaNa', 'Nan', 'Infinit', '-Infinit', '-', '-x', '+1', '.5', '1.', '01', '-01',
            '1e', '1e+', '1.5e', '0x10', '1_0', '1 2', '{} {}', '{}x', '{}\n\nx', '[]]', '""x', '"', '"abc', '"a\nb"', '"a\tb"', '"a\x00b"', '"a\x1fb"',
            '"\\', '"\\"', '"\\x"', '"\\\u00e9"', '"\\a', "\"\\'\"", '"\\u', '"\\u"', '"\\u1"', '"\\u12"', '"\\u123"', '"\\u123', '"\\u12g4"', '"\\u 123"', '"\\u0x12"', '"\\u+123"',
            '"\\u-123"', '"\\u1_23"', '"\\uD83D', '"\\uD83D\\', '"\\uD83D\\u', '"\\uD83D\\u12"', '"\\uD83D\\uZZZZ"', '"\\uD83D\\uDE0"', '"\\ud800\\u0041',
            '{"a":"\\q"}', '{"a\\q":1}', '{"a\nb":1}', '{"a":tru}', '{"a":[1,{"b":]}]}', '{"a":"b}', '{"a"::1}', '{"a":1,,"b":2}', '{"a":1;"b":2}',
            '/* c */{}', '{}// c', '{"a":1}\x00', '\x00', '\x0b{}', '\x0c{}', '\u00a0{}', '\u2028{}', '[1,\n2,\n3 4]', '{\n  "a": 1,\n  "b": \n}', '{"a": \t\n x}',
            '[1\u00a0,2]', '\u00e9\n\u00e9\nx', '"\u00e9\u00e9\nx"', '\ufeff\ufeff{}', 'N', 'I', '-I', 'n', 't', 'f', '[NaN, Infinity, -Infinity, x]', '{"a":1}}', '"\x7f', ' ', '\n', '\t \r\n', '2.', '2.e1', '-.1', '1E5x', '1.0.0'):
    case(f"malformed {bad!r}", bad)
case("unterminated string of 200 emoji", '"', {"repeat": "\U0001f600", "times": 200})
case("invalid UTF-8", {"hex": "7b22ff223a317d"})
case("truncated UTF-8", '{"a":"', {"hex": "e282"}, '"}')
case("overlong UTF-8", '{"a":"', {"hex": "c080"}, '"}')
case("code point above the last", '{"a":"', {"hex": "f4908080"}, '"}')
case("surrogate in UTF-8 inside a string", '{"x":"', {"hex": "eda080"}, '",' + FILE + "}")
case("surrogate in UTF-8 in a broken body", '{"x":"', {"hex": "eda080"},
     ours=(422, '{"detail":[{"loc":["body",5],"msg":"Unterminated string starting at: line 1 column 6 (char 5)","type":"value_error.jsondecode","ctx":{"msg":"Unterminated string starting at","doc":"{\\"x\\":\\"\ufffd","pos":5,"lineno":1,"colno":6}}]}'))
case("BOM before the body", {"hex": "efbbbf"}, VALID)
case("BOM alone", {"hex": "efbbbf"})
case("BOM and a bad body", {"hex": "efbbbf"}, "{x")
case("UTF-16 little endian", {"hex": VALID.encode("utf-16-le").hex()})
case("UTF-16 big endian", {"hex": VALID.encode("utf-16-be").hex()})
case("UTF-16 with BOM", {"hex": VALID.encode("utf-16").hex()})
case("UTF-16 big endian with BOM", {"hex": "feff" + VALID.encode("utf-16-be").hex()})
case("UTF-32 little endian", {"hex": VALID.encode("utf-32-le").hex()})
case("UTF-32 big endian", {"hex": VALID.encode("utf-32-be").hex()})
case("UTF-32 with BOM", {"hex": VALID.encode("utf-32").hex()})
case("UTF-16 with emoji and an error", {"hex": '{"\U0001f600" x'.encode("utf-16-le").hex()})
case("UTF-16 of odd length", {"hex": "7b00220061"})
case("UTF-32 beyond Unicode", {"hex": "fffe0000" + "00001100"})
case("two bytes with a NUL", {"hex": "7b00"})
case("two bytes with a NUL first", {"hex": "007b"})
case("three bytes with a NUL", {"hex": "7b0022"})
case("deep arrays within limits", '{"x":', {"repeat": "[", "times": 100}, {"repeat": "]", "times": 100}, "," + FILE + "}")
case("arrays too deep", {"repeat": "[", "times": 100000})
case("objects too deep", {"repeat": '{"a":', "times": 100000})
case("integer of 4300 digits", '{"project_id":', {"repeat": "7", "times": 4300}, "," + FILE + "}")
case("integer of 4301 digits", '{"project_id":', {"repeat": "7", "times": 4301}, "," + FILE + "}")
case("negative integer of 4300 digits", '{"x":-', {"repeat": "7", "times": 4300}, "," + FILE + "}")
case("float of 5000 digits", '{"project_id":', {"repeat": "7", "times": 5000}, ".0," + FILE + "}")
# Unknown members, duplicates, strings.
field("intent", '"completion"')
field("context", '[{"type":"file","name":"b.py","content":"x"}]')
case("current_file with more members", '{"current_file":{"stream":true,"file_name":"a.py","content_above_cursor":"","content_below_cursor":"","x":{}}}')
case("duplicate members: last wins", '{"project_id":1,"project_id":2,' + FILE + "}")
case("duplicate members: last wins, also when it is wrong", '{"project_id":1,"project_id":"x",' + FILE + "}")
case("project_path empty and project_id -1", '{"prompt_version":1,"project_path":"","project_id":-1,' + FILE + "}")
for value in ('"\\u0000"', '"\\ufeffx"', '"\\ud83d\\ude00"', '"\\ud83d"', '"\\ude00\\ud83d"', '"\\ud83dx"', '"\\ud83d\\u0041"', '"\\ud83d\\ud83d\\ude00"', '"a\\/\\b\\f\\n\\r\\t\\"\\\\"', '"\x7f\u2028"',
              "5", "5.5", "-0", "-0.0", "1e5", "1e16", "1e15", "123456789012345680.0", "1e-5", "0.0001", "1e22", "1.5e300", "1e400", "-1e400", "NaN", "Infinity", "5e-324", "0.1", "100.0", "123456789.123", "true", "false", "null",
              "[]", "{}", "123456789012345678901234567890"):
    current("content_above_cursor", value)
for value in ('""', '"  a.py\\t"', '"\\u00a0a\\u2003\\u001c"', '"\\u200ba"', "7", "null", "[]", "{}", "true"):
    current("file_name", value)
for value in ('""', '" x "', "null", "3", "[]", '"python"'):
    current("language_identifier", value)
case("file_name of 256", '{"current_file":{"file_name":"', {"repeat": "a", "times": 256}, '","content_above_cursor":"","content_below_cursor":""}}')
case("file_name of 255 emoji", '{"current_file":{"file_name":"', {"repeat": "\U0001f600", "times": 255}, '","content_above_cursor":"","content_below_cursor":""}}')
case("file_name of 300 spaces and a.py", '{"current_file":{"file_name":"', {"repeat": " ", "times": 300}, 'a.py","content_above_cursor":"","content_below_cursor":""}}')
case("language_identifier of 256", '{"current_file":{"language_identifier":"', {"repeat": "a", "times": 256}, '","file_name":"","content_above_cursor":"","content_below_cursor":""}}')
case("content of 100000 emoji", '{"current_file":{"file_name":"a","content_above_cursor":"', {"repeat": "\U0001f600", "times": 100000}, '","content_below_cursor":""}}')
case("content of 100000 escaped emoji", '{"current_file":{"file_name":"a","content_above_cursor":"', {"repeat": "\\ud83d\\ude00", "times": 100000}, '","content_below_cursor":""}}')
case("content of 100001", '{"current_file":{"file_name":"a","content_above_cursor":"', {"repeat": "x", "times": 100001}, '","content_below_cursor":""}}')
case("both contents of 100001", '{"current_file":{"file_name":"a","content_above_cursor":"', {"repeat": "x", "times": 100001}, '","content_below_cursor":"', {"repeat": "\u00e9", "times": 100001}, '"}}')
case("content of 200000 spaces is not stripped", '{"current_file":{"file_name":"a","content_above_cursor":"', {"repeat": " ", "times": 200000}, '","content_below_cursor":""}}')
case("project_path of 256 in spaces", '{"project_path":"  ', {"repeat": "p", "times": 256}, '  ",' + FILE + "}")
case("project_path of 255 in spaces", '{"project_path":"  ', {"repeat": "p", "times": 255}, '  ",' + FILE + "}")
for value in ("null", "12", "true", "[]", "{}", '" a/b "', "1.5"):
    field("project_path", value)
# Integers.
for value in ('"12"', "1.5", "-1.5", "true", "false", '"x"', "NaN", "Infinity", "null", "[]", "{}", "123456789012345678901234567890", "-5", "1e20", "1e40", "1e300", "1e400", "-0", "-0.5", '""', '" 12 "', '"1_000"', '"1__0"', '"_1"', '"1_"',
              '"+5"', '"-5"', '"- 5"', '"+-5"', '"0012"', '"0_0"', '"1.5"', '"1e5"', '"0x10"', '"\\u0661\\u0662"', '"\\uff11"', '"\\u00b2"', '"\\u20031\\u00a0"', '"\\u001c1"', '"\\u001f1\\u00a0"', '"1\\u0000"', '"1\\n"', '"-"', '"+"', '"\\ud800"', '"\U0001d7d8\U0001d7d9"', '"\\u08781"',
              '"170141183460469231731687303715884105727"', '"170141183460469231731687303715884105728"', '"-170141183460469231731687303715884105729"', '"1 2"'):
    field("project_id", value)
case("project_id of 4301 digits in a string", '{"project_id":"', {"repeat": "7", "times": 4301}, '",' + FILE + "}")
case("project_id of 4300 digits in a string", '{"project_id":"', {"repeat": "7", "times": 4300}, '",' + FILE + "}")
case("project_id of 4299 digits and two underscores", '{"project_id":"', {"repeat": "7", "times": 4297}, '_7_7",' + FILE + "}")
# prompt_version.
for value in ("1", "1.0", "true", "2", '"1"', "0", "false", "-1", "1.5", "1e16", "1e400", "null", "[]", "[1,{\"a\":\"\u00e9\\n\\u0001\"}]", "{}", '{"b":1,"a":null,"b":2.50,"_sa":3}', '"a\\"\\\\\\u007f\\u2028\\u00e9"', "3.0", "1e-7", "123456789012345678901234567890"):
    nan = '{"detail":[{"loc":["body","prompt_version"],"msg":"unexpected value; permitted: 1","type":"value_error.const","ctx":{"given":%s,"permitted":[1]}}]}'
    field("prompt_version", value, ours=(422, nan % "null") if value == "1e400" else None)
field("prompt_version", "NaN", ours=(422, nan % "null"))
field("prompt_version", '"\\ud800"', ours=(422, nan % '"\ufffd"'))
# current_file.
for value in ("null", "1", '"x"', '"xy"', "[]", '""', '["ab"]', "{}", "true", "[[1,2]]", '{"file_name":1}', "1.5", '[["file_name","x"]]'):
    case(f"current_file = {value}", '{"current_file":' + value + "}")
# telemetry.
for value in ("null", "[]", "{}", '""', '"x"', "1", "true", "[null]", "[1]", "[[]]", '["ab"]', "[{}]", '[{"requests":1}]', "[" + counted("") + "]",
              "[" + counted("", "-1", "-2", "-3") + "]", "[" + counted("", '"7"', "1.9", "true") + "]", "[" + counted("", "null", '"x"', "[]") + "]",
              "[" + counted("", "123456789012345678901234567890", "1e300", "-1e300") + "]",
              "[" + counted(',"model_engine":null,"model_name":5,"lang":"py","experiments":null') + "]",
              "[" + counted(',"experiments":[]') + "]", "[" + counted(',"experiments":{}') + "]", "[" + counted(',"experiments":"x"') + "]",
              "[" + counted(',"experiments":[null]') + "]", "[" + counted(',"experiments":[1]') + "]", "[" + counted(',"experiments":[{}]') + "]",
              "[" + counted(',"experiments":[{"name":"a"}]') + "]", "[" + counted(',"experiments":[{"name":null,"variant":null}]') + "]",
              "[" + counted(',"experiments":[{"name":"exp","variant":0},{"name":5,"variant":"1"}]') + "]",
              "[" + counted(',"experiments":[[["name","a"],["variant",2]]]') + "]",
              "[" + ",".join([counted("")] * 10) + "]", "[" + ",".join(["{}"] * 11) + "]", "[" + ",".join(["1"] * 12) + "]"):
    telemetry(value)
for name in ("model_engine", "model_name", "lang"):
    case(f"telemetry {name} of 51", '{"telemetry":[{"requests":1,"accepts":1,"errors":1,"' + name + '":"', {"repeat": "m", "times": 51}, '"}],' + FILE + "}")
    case(f"telemetry {name} of 50", '{"telemetry":[{"requests":1,"accepts":1,"errors":1,"' + name + '":"', {"repeat": "m", "times": 50}, '"}],' + FILE + "}")
# All errors at once, in the order of the declarations.
case("everything wrong", '{"telemetry":[{"errors":"x","experiments":[{"variant":"x"},2]},7],"current_file":{"content_below_cursor":[],"language_identifier":{}},"project_id":"x","project_path":[],"prompt_version":2}')
case("member names of Python", '{"self":1,"__init__":2,"cls":3,' + FILE + "}")


def main():
    out = []
    for name, content_type, parts, ours in CASES:
        status, body = ask(content_type, encode(parts))
        entry = {"name": name, "contentType": content_type, "body": parts, "status": status}
        if status == 200:
            entry["read"] = json.loads(body)
        else:
            entry["answer"] = body
        if ours:
            entry["ours"] = {"status": ours[0], "answer": ours[1]}
        out.append(json.dumps(entry))
    names = [entry[0] for entry in CASES]
    assert len(names) == len(set(names)), [name for name in names if names.count(name) > 1]
    print("[\n" + ",\n".join(out) + "\n]")


if __name__ == "__main__":
    main()
