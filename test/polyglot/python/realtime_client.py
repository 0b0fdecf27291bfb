"""PyPI `openai`, unchanged, on the Realtime endpoint: asks twice by voice, the second time over the answer to the first.

Prints one line of JSON: what was heard, what was said, how each response ended.
"""

import argparse
import asyncio
import base64
import json
import wave

from openai import AsyncOpenAI

FRAME_MS = 20
FRAME_BYTES = 24 * FRAME_MS * 2
SILENCE = bytes(FRAME_BYTES)


def spoken(path: str) -> bytes:
    """24 kHz mono of a 16 kHz file: two samples become three."""
    with wave.open(path) as file:
        samples = memoryview(file.readframes(file.getnframes())).cast("h")
    out = bytearray()
    for at in range(0, len(samples) - 2, 2):
        first, second, third = samples[at], samples[at + 1], samples[at + 2]
        for value in (first, (first + 2 * second) // 3, (2 * second + third) // 3):
            out += int(value).to_bytes(2, "little", signed=True)
    return bytes(out)


class Microphone:
    """In real time: silence, unless something is said."""

    def __init__(self, connection):
        self.connection = connection
        self.words = bytearray()

    async def run(self):
        loop = asyncio.get_running_loop()
        start, sent = loop.time(), 0
        while True:
            while sent * FRAME_MS / 1000 <= loop.time() - start:
                frame = bytes(self.words[:FRAME_BYTES]) or SILENCE
                del self.words[:FRAME_BYTES]
                frame += bytes(FRAME_BYTES - len(frame))
                await self.connection.input_audio_buffer.append(audio=base64.b64encode(frame).decode())
                sent += 1
            await asyncio.sleep(0.01)


async def listen(connection, microphone, args, seen):
    """Until the second question is answered."""
    sound = 0
    async for event in connection:
        seen["types"].append(event.type)
        if event.type == "error":
            seen["errors"].append(event.error.message)
        elif event.type == "response.output_audio.delta":
            sound += len(base64.b64decode(event.delta))
            # A while into the first answer somebody speaks over it.
            if seen["asked"] == 1 and seen["heard"] and sound > 48 * 600:
                seen["asked"] = 2
                microphone.words += spoken(args.second)
        elif event.type == "conversation.item.input_audio_transcription.completed":
            seen["heard"].append(event.transcript.strip())
            sound = 0
        elif event.type == "conversation.item.truncated":
            seen["truncated_ms"].append(event.audio_end_ms)
        elif event.type == "response.done":
            seen["responses"].append(event.response.status)
            # The agent may greet before anything was asked.
            if seen["asked"] == 0:
                seen["asked"] = 1
                microphone.words += spoken(args.first)
            elif len(seen["heard"]) == 2:
                return


async def main():
    parser = argparse.ArgumentParser()
    for name in ("url", "key", "model", "first", "second"):
        parser.add_argument(f"--{name}", required=True)
    args = parser.parse_args()
    seen = {"types": [], "errors": [], "heard": [], "truncated_ms": [], "responses": [], "asked": 0}
    client = AsyncOpenAI(api_key=args.key, websocket_base_url=args.url)
    async with client.realtime.connect(model=args.model) as connection:
        await connection.session.update(session={"type": "realtime", "instructions": "Be brief."})
        microphone = Microphone(connection)
        speaking = asyncio.create_task(microphone.run())
        try:
            await asyncio.wait_for(listen(connection, microphone, args, seen), 60)
        finally:
            speaking.cancel()
            seen["types"] = sorted(set(seen["types"]))
            print(json.dumps(seen))


asyncio.run(main())
