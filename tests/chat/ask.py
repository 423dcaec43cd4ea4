# SPDX-License-Identifier: Apache-2.0
"""ask.py BASE_URL QUESTION [SOCKET]: asks with OpenAI's own Python client, streaming, and prints JSON: the answer, in
how many pieces it came, and when the first and the last one came. Runs in the client's own virtual environment."""

import json
import sys
import time

import httpx2
import openai

address, question, *socket = sys.argv[1:]
over = httpx2.Client(transport=httpx2.HTTPTransport(uds=socket[0])) if socket else None
client = openai.OpenAI(base_url=address, api_key="none", max_retries=0, timeout=120, http_client=over)
began = time.monotonic()
pieces, times = [], []
model = client.models.list().data[0].id
for chunk in client.chat.completions.create(model=model, messages=[{"role": "user", "content": question}], stream=True,
                                            temperature=0, max_tokens=48):
    if chunk.choices and (text := chunk.choices[0].delta.content):
        pieces.append(text)
        times.append(time.monotonic() - began)
print(json.dumps({"answer": "".join(pieces), "pieces": len(pieces), "first_s": times[0], "last_s": times[-1]}))
