"""Ask a chat model on an endpoint, whole and word by word. Reads OPENAI_BASE_URL and OPENAI_API_KEY."""

import openai

client = openai.OpenAI()
messages = [{"role": "user", "content": "Polly wants a cracker"}]

print("models:", *(model.id for model in client.models.list()))

whole = client.chat.completions.create(model="parrot", messages=messages)
print("whole:", whole.choices[0].message.content)

print("streamed:", end=" ")
for piece in client.chat.completions.create(model="parrot", messages=messages, stream=True):
    print(piece.choices[0].delta.content or "", end="|", flush=True)
print()
