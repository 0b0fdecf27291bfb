import type { protos } from "@google-cloud/speech";
import { type Failure, lost } from "../stt/failure.ts";
import type { GatheredRequest } from "../stt/recognition.ts";
import { configOf, heardFrom } from "./answer.ts";
import { type Connectable, cancelCall, whenConnected } from "./call.ts";
import { failureOfGrpc } from "./grpc-failure.ts";
import type { GoogleAsked, Reached } from "./stt.ts";

type Response = protos.google.cloud.speech.v1.IRecognizeResponse;

/** The vendor's own bound of a request with the audio in it: one minute. */
const bytesMax = 60 * 32_000;

interface SpeechStub extends Connectable {
  recognize(
    request: object,
    metadata: object,
    options: object,
    done: (error: unknown, response?: Response) => void,
  ): { cancel(): void };
}

/** The whole utterance in one `Recognize`. */
export async function recognise(
  { client, channel }: Reached,
  { values, key }: GoogleAsked,
  request: GatheredRequest,
): Promise<Failure | undefined> {
  if (request.pcm.length > bytesMax) {
    return { kind: "error", detail: "without streaming an utterance is at most 60 s long; set `streaming` to true" };
  }
  const asked = { config: configOf(values), audio: { content: request.pcm } };
  try {
    const stub = (await client.initialize()) as unknown as SpeechStub;
    const connected = await new Promise<boolean>((tell) => whenConnected(stub, values.connect_timeout_ms, tell));
    if (!connected || request.signal.aborted) return lost;
    const { results } = await new Promise<Response>((resolve, reject) => {
      const call = stub.recognize(asked, channel.metadata(key), {}, (error, response) => {
        if (response === undefined) reject(error);
        else resolve(response);
      });
      request.signal.addEventListener("abort", () => cancelCall(call), { once: true });
    });
    for (const { alternatives, languageCode } of results ?? []) {
      request.heard(heardFrom(alternatives?.[0], { final: true, language: languageCode }));
    }
    return undefined;
  } catch (error) {
    return failureOfGrpc(error);
  }
}
