/** Which audio an adapter may speak, and the contract's form of it (F-090). */
import { err, ok, type Result } from "@rspp/base/result";
import { AudioCodec, type AudioFormat as WireFormat } from "@rspp/gen/rspp/event/v1/audio_pb";
import type { AudioFormat } from "@rspp/ports/provider";
import { fieldProblem, type Problem } from "./problem.ts";

/** What the runtime hears, whatever the caller speaks. */
export const RUNTIME_FORMAT: AudioFormat = { codec: "pcm_s16le", rateHz: 16_000, channels: 1 };

const codecs = new Map<AudioCodec, AudioFormat["codec"]>([
  [AudioCodec.PCM_S16LE, "pcm_s16le"],
  [AudioCodec.MULAW, "mulaw"],
  [AudioCodec.ALAW, "alaw"],
  [AudioCodec.OPUS, "opus"],
]);

const opusRates: readonly number[] = [8_000, 12_000, 16_000, 24_000, 48_000];
const RATE_MAX_HZ = 48_000;

/** The format as the ports name it, or what is wrong with it. `field`: where it stands, e.g. `open.input_format`. */
export function formatFromWire(
  wire: WireFormat | undefined,
  field: string,
  channelsMax: number,
): Result<AudioFormat, Problem> {
  const codec = codecs.get(wire?.codec ?? 0);
  if (wire === undefined || codec === undefined) {
    return unsupported(`${field}.codec`, "is not a codec this adapter speaks", "use PCM_S16LE, MULAW, ALAW or OPUS");
  }
  const rateHz = wire.sampleRateHz;
  if (codec === "opus" && !opusRates.includes(rateHz)) {
    return unsupported(`${field}.sample_rate_hz`, "is no rate of Opus", `use one of ${opusRates.join(", ")}`);
  }
  if (rateHz > RATE_MAX_HZ) {
    return unsupported(`${field}.sample_rate_hz`, `is above ${RATE_MAX_HZ}`, `use 8000 to ${RATE_MAX_HZ}`);
  }
  if (wire.channels > channelsMax) {
    return unsupported(`${field}.channels`, `is above ${channelsMax}`, `use ${channelsMax === 1 ? "1" : "1 or 2"}`);
  }
  return ok({ codec, rateHz, channels: wire.channels });
}

function unsupported(field: string, message: string, remedy: string): Result<never, Problem> {
  return err(fieldProblem(field, "audio.supported", message, remedy));
}

export function sameFormat(a: AudioFormat, b: AudioFormat): boolean {
  return a.codec === b.codec && a.rateHz === b.rateHz && a.channels === b.channels;
}

const numbers = new Map([...codecs].map(([number, name]) => [name, number]));

export function formatToWire(format: AudioFormat): { codec: AudioCodec; sampleRateHz: number; channels: number } {
  const codec = numbers.get(format.codec) ?? AudioCodec.UNSPECIFIED;
  return { codec, sampleRateHz: format.rateHz, channels: format.channels };
}
