import { INGRESS_SIGNALS } from "@rspp/kernel/control-signals";
import type { InputBody } from "@rspp/kernel/input";
import type { TransportIngress } from "@rspp/ports/transport";
import { VAD_FRAME_BYTES, VAD_RATE_HZ } from "@rspp/ports/vad";
import { limits } from "./limits.ts";

/** Why a message of the adapter was not taken in. The session goes on. */
export interface IngressRefusal {
  /** Path of the offending field, e.g. `format.rateHz`. */
  field: string;
  reason: string;
  remedy: string;
}

type Fields = Readonly<Record<string, unknown>>;

const codecs: readonly unknown[] = ["pcm_s16le", "mulaw", "alaw", "opus"];
const signals: ReadonlySet<unknown> = new Set<unknown>(INGRESS_SIGNALS);
const deliveryStates: readonly unknown[] = ["accepted", "started", "progress", "completed", "cancelled", "lost"];
const pcmToleranceUs = 1_000;

/** Checks every field of a message from outside; never throws, whatever it is given. */
export function checkIngress(message: unknown): IngressRefusal | null {
  if (typeof message !== "object" || message === null)
    return refuse("message", "is no object", "send a TransportIngress");
  const m = message as Fields;
  const epoch = wholeField(m, "epoch", 0);
  if (epoch !== null) return epoch;
  switch (m.kind) {
    case "audio":
      return checkAudio(m);
    case "control":
      return checkControl(m);
    case "delivery":
      if (!deliveryStates.includes(m.state)) return oneOf("state", deliveryStates);
      return wholeField(m, "turn", 0) ?? wholeField(m, "generation", 0) ?? wholeField(m, "playedUs", 0);
    case "fence_ack":
      return (
        wholeField(m, "turn", 0) ??
        wholeField(m, "generation", 0) ??
        wholeField(m, "playedUs", 0) ??
        wholeField(m, "flushed", 0)
      );
    default:
      return oneOf("kind", ["audio", "control", "delivery", "fence_ack"]);
  }
}

/** Of a checked audio message, where the graph has a detector: it takes 20 ms of 16 kHz mono PCM and nothing else. */
export function checkVadFrame(message: Extract<TransportIngress, { kind: "audio" }>): IngressRefusal | null {
  const { format, bytes } = message;
  const remedy = "transcode in the adapter: the pipeline's voice detector takes 20 ms of 16 kHz mono pcm_s16le";
  if (format.codec !== "pcm_s16le") return refuse("format.codec", `is ${format.codec}`, remedy);
  if (format.rateHz !== VAD_RATE_HZ) return refuse("format.rateHz", `is ${format.rateHz}`, remedy);
  if (format.channels !== 1) return refuse("format.channels", `is ${format.channels}`, remedy);
  if (bytes.length !== VAD_FRAME_BYTES) return refuse("bytes", `are ${bytes.length} long`, remedy);
  return null;
}

/** A checked message without payload as the kernel takes it; what was left out gets its neutral value. */
export function inputOf(message: Exclude<TransportIngress, { kind: "audio" }>): InputBody {
  const { epoch } = message;
  switch (message.kind) {
    case "control":
      return {
        type: "control",
        epoch,
        sequence: message.sequence,
        signal: message.signal,
        controlClass: message.controlClass,
        lastMediaSequence: message.lastMediaSequence ?? 0,
        turn: message.turn ?? 0,
        reason: message.reason ?? "",
        key: message.idempotencyKey ?? "",
        fields: message.fields ?? null,
      };
    case "delivery": {
      const { turn, generation, state, playedUs } = message;
      return { type: "delivery", epoch, turn, generation, state, playedUs };
    }
    case "fence_ack": {
      const { turn, generation, playedUs, flushed } = message;
      return { type: "fence_ack", epoch, turn, generation, playedUs, flushed };
    }
  }
}

function checkAudio(m: Fields): IngressRefusal | null {
  const whole =
    wholeField(m, "sequence", 1) ??
    wholeField(m, "mediaUs", 0) ??
    wholeField(m, "durationUs", 1, limits.INGRESS_AUDIO_DURATION_US_MAX) ??
    keyField(m);
  if (whole !== null) return whole;
  const format = m.format;
  if (typeof format !== "object" || format === null)
    return refuse("format", "is missing", "give codec, rateHz and channels");
  const { codec, rateHz, channels } = format as { codec?: unknown; rateHz?: unknown; channels?: unknown };
  if (!codecs.includes(codec)) return oneOf("format.codec", codecs);
  if (!isWhole(rateHz, 1, limits.INGRESS_RATE_HZ_MAX)) return range("format.rateHz", 1, limits.INGRESS_RATE_HZ_MAX);
  if (!isWhole(channels, 1, limits.INGRESS_CHANNELS_MAX))
    return range("format.channels", 1, limits.INGRESS_CHANNELS_MAX);
  const bytes = m.bytes;
  if (!(bytes instanceof Uint8Array)) return refuse("bytes", "are no bytes", "give the frame as a Uint8Array");
  if (bytes.length === 0) return refuse("bytes", "are empty", "send no frame where there is no audio");
  if (bytes.length > limits.INGRESS_AUDIO_BYTES_MAX) {
    return refuse("bytes", `are more than ${limits.INGRESS_AUDIO_BYTES_MAX}`, "send shorter frames, 20 ms is usual");
  }
  return codec === "pcm_s16le" ? checkPcm(bytes.length, m.durationUs as number, rateHz, channels) : null;
}

function checkPcm(bytes: number, durationUs: number, rateHz: number, channels: number): IngressRefusal | null {
  const sampleBytes = 2 * channels;
  if (bytes % sampleBytes !== 0)
    return refuse("bytes", "end inside a sample", "send whole 16-bit samples of all channels");
  const realUs = (bytes / sampleBytes / rateHz) * 1e6;
  if (Math.abs(realUs - durationUs) <= pcmToleranceUs) return null;
  const reason = `says ${durationUs} while the samples last ${Math.round(realUs)}`;
  return refuse("durationUs", reason, "give the duration of the samples, or the right format");
}

function checkControl(m: Fields): IngressRefusal | null {
  if (!signals.has(m.signal)) return oneOf("signal", INGRESS_SIGNALS);
  const controlClass = m.controlClass;
  if (controlClass !== "overtaking" && controlClass !== "positioned")
    return oneOf("controlClass", ["overtaking", "positioned"]);
  if (m.reason !== undefined && !isText(m.reason, 0, limits.INGRESS_REASON_CHARS_MAX)) {
    return refuse("reason", `is no text of at most ${limits.INGRESS_REASON_CHARS_MAX} characters`, "shorten it");
  }
  return (
    wholeField(m, "sequence", 1) ??
    (m.lastMediaSequence === undefined ? null : wholeField(m, "lastMediaSequence", 0)) ??
    (m.turn === undefined ? null : wholeField(m, "turn", 0)) ??
    checkFields(m.fields) ??
    keyField(m)
  );
}

function checkFields(fields: unknown): IngressRefusal | null {
  if (fields === undefined) return null;
  if (typeof fields !== "object" || fields === null || Array.isArray(fields)) {
    return refuse("fields", "is no object", "give names with texts or numbers");
  }
  const entries = Object.entries(fields);
  if (entries.length > limits.INGRESS_FIELDS_MAX) {
    return refuse("fields", `has more than ${limits.INGRESS_FIELDS_MAX} entries`, "send fewer");
  }
  for (const [name, value] of entries) {
    if (!isText(name, 1, limits.INGRESS_NAME_CHARS_MAX))
      return refuse("fields", "has a name out of bounds", "use short names");
    if (Number.isFinite(value) || isText(value, 0, limits.INGRESS_FIELD_CHARS_MAX)) continue;
    return refuse(`fields.${name}`, "is neither a number nor a short text", "send it as one of these");
  }
  return null;
}

function keyField(m: Fields): IngressRefusal | null {
  const key = m.idempotencyKey;
  if (key === undefined || isText(key, 0, limits.INGRESS_KEY_CHARS_MAX)) return null;
  return refuse(
    "idempotencyKey",
    `is no text of at most ${limits.INGRESS_KEY_CHARS_MAX} characters`,
    "shorten or omit it",
  );
}

function wholeField(m: Fields, field: string, least: number, most = Number.MAX_SAFE_INTEGER): IngressRefusal | null {
  return isWhole(m[field], least, most) ? null : range(field, least, most);
}

function isWhole(value: unknown, least: number, most: number): value is number {
  return Number.isSafeInteger(value) && Number(value) >= least && Number(value) <= most;
}

function isText(value: unknown, least: number, most: number): value is string {
  return typeof value === "string" && value.length >= least && value.length <= most;
}

function range(field: string, least: number, most: number): IngressRefusal {
  const upTo = most === Number.MAX_SAFE_INTEGER ? "" : ` to ${most}`;
  return refuse(field, `is no whole number from ${least}${upTo}`, "send one in that range");
}

function oneOf(field: string, names: readonly unknown[]): IngressRefusal {
  return refuse(field, "is not a known one", `use one of ${names.join(", ")}`);
}

function refuse(field: string, reason: string, remedy: string): IngressRefusal {
  return { field, reason, remedy };
}
