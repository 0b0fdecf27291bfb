import { type DeepgramClient, DeepgramError, DeepgramTimeoutError } from "@deepgram/sdk";
import { bytesToS16 } from "@rspp/audio/pcm";
import { writeWav } from "@rspp/audio/wav";
import { type Failure, failureOfStatus, lost, malformed } from "../stt/failure.ts";
import { intakeRateHz } from "../stt/pcm-intake.ts";
import type { GatheredRequest } from "../stt/recognition.ts";
import { fittingTerms } from "../stt/settings.ts";
import { heardFrom, saysQuota } from "./answer.ts";
import type { DeepgramAsked } from "./stt.ts";

/** The whole utterance as one WAV, one answer. */
export async function transcribeRecorded(
  client: DeepgramClient,
  { values }: DeepgramAsked,
  request: GatheredRequest,
): Promise<Failure | undefined> {
  const wav = writeWav(bytesToS16(request.pcm), { rateHz: intakeRateHz, channels: 1 });
  const terms = fittingTerms(values.key_terms);
  const asked = {
    model: values.model as "nova-3",
    smart_format: values.smart_format,
    punctuate: values.smart_format,
    ...(values.language === "" ? { detect_language: true } : { language: values.language }),
    ...(terms.length === 0 ? {} : { keyterm: terms }),
  };
  try {
    const answer = await client.listen.v1.media.transcribeFile(wav, asked, {
      abortSignal: request.signal,
      maxRetries: 0,
      // The bound is ours: the invocation's own guard.
      timeoutInSeconds: 600,
    });
    const channel = "results" in answer ? answer.results?.channels?.[0] : undefined;
    const heard = heardFrom(channel?.alternatives?.[0], { final: true, language: channel?.detected_language });
    if (heard === undefined) return malformed;
    request.heard(heard);
    return undefined;
  } catch (error) {
    return failureOf(error);
  }
}

function failureOf(error: unknown): Failure {
  if (error instanceof DeepgramTimeoutError) return { kind: "timeout", detail: "the endpoint did not answer in time" };
  if (!(error instanceof DeepgramError)) return lost;
  const { statusCode, body } = error;
  if (statusCode === undefined) return lost;
  if (statusCode < 400) return malformed;
  return failureOfStatus(statusCode, saysQuota(JSON.stringify(body ?? "")));
}
