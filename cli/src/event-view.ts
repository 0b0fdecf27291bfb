/** Events of a session as people and programs read them: one line, one object. */
import { toJson } from "@bufbuild/protobuf";
import { ErrorReasonSchema } from "@rspp/gen/rspp/common/v1/error_pb";
import { CancelScopeSchema } from "@rspp/gen/rspp/common/v1/lane_pb";
import { ReasonSchema } from "@rspp/gen/rspp/common/v1/reason_pb";
import { type Control, ControlSignalSchema, TurnOriginSchema } from "@rspp/gen/rspp/event/v1/control_pb";
import { type Envelope, EnvelopeSchema } from "@rspp/gen/rspp/event/v1/event_pb";
import { TextRole } from "@rspp/gen/rspp/event/v1/text_pb";
import { wordOf } from "./enum-words.ts";
import { type Paint, padded, paint, printable } from "./output/style.ts";

/** The envelope as protobuf JSON with the field names of the contracts. */
export function eventData(event: Envelope): unknown {
  return toJson(EnvelopeSchema, event, { useProtoFieldName: true });
}

const kindWidth = 8;

/** The latencies of a turn by the canonical anchors (kernel.md §10): what a person wants of the metrics unasked. */
const turnLatencies: ReadonlySet<string> = new Set([
  "turn_open_ms",
  "first_output_ms",
  "voice_to_voice_ms",
  "cancel_fence_ms",
]);

/** Levels of queues and the like come many times a second: a person sees them only when they are asked for. */
export function isNoise({ payload }: Pick<Envelope, "payload">): boolean {
  return payload.case === "metrics" && payload.value.samples.every(({ name }) => !turnLatencies.has(name));
}

/** `17:05:09.123  turn 2  control  turn_open (endpoint)`. */
export function eventLine(event: Envelope): string {
  const { kind, words, how } = describe(event);
  const turn = event.turnNumber === 0 ? "" : `turn ${event.turnNumber}`;
  const tail = event.lateAfterCancel ? paint("dim", " (late after cancel)") : "";
  return `${paint("dim", clock(Number(event.wallMs)))}  ${padded(turn, 7)}  ${paint(how, padded(kind, kindWidth))}  ${words}${tail}`;
}

function clock(wallMs: number): string {
  const at = new Date(wallMs);
  const pad = (n: number, width = 2): string => String(n).padStart(width, "0");
  return `${pad(at.getHours())}:${pad(at.getMinutes())}:${pad(at.getSeconds())}.${pad(at.getMilliseconds(), 3)}`;
}

interface Described {
  kind: string;
  words: string;
  how: Paint;
}

function describe({ payload, nodeId }: Envelope): Described {
  switch (payload.case) {
    case "text": {
      const { role, text, final } = payload.value;
      const who = role === TextRole.USER ? "caller" : role === TextRole.ASSISTANT ? "agent" : "text";
      return { kind: who, words: `"${printable(text.trim())}"${final ? "" : paint("dim", " …")}`, how: "cyan" };
    }
    case "control":
      return { kind: "control", words: controlWords(payload.value), how: "bold" };
    case "metrics": {
      const samples = payload.value.samples.map(({ name, value, nodeId: node, edgeId }) => {
        const where = [node, edgeId].filter((part) => part !== "").join(" ");
        return `${where}${where === "" ? "" : " "}${name} ${Number.isInteger(value) ? value : value.toFixed(2)}`;
      });
      const kind = isNoise({ payload }) ? "metrics" : "latency";
      return { kind, words: samples.join(", "), how: "dim" };
    }
    case "debug": {
      const fields = Object.entries(payload.value.fields).map(([name, value]) => `${name}=${printable(value)}`);
      return {
        kind: "debug",
        words: [payload.value.topic, printable(payload.value.message), ...fields].join(" "),
        how: "dim",
      };
    }
    case "error": {
      const { reason = 0, remedy = "", violations = [] } = payload.value.detail ?? {};
      const fields = violations.map(({ field, message }) => `${field}: ${message}`).join("; ");
      const words = [wordOf(ErrorReasonSchema, reason), fields, remedy].filter((part) => part !== "").join(". ");
      return { kind: "error", words, how: "red" };
    }
    case "audio": {
      const { data, durationUs, end } = payload.value;
      return {
        kind: "audio",
        words: `${durationUs / 1_000} ms, ${data.length} bytes${end ? ", end" : ""}`,
        how: "dim",
      };
    }
    default:
      return { kind: "unknown", words: nodeId, how: "yellow" };
  }
}

/** `playback_cancelled, barge_in, at 2.34 s`. */
export function controlWords(control: Control): string {
  const { signal, reasonDetail, providerId, nodeId, mediaTime } = control;
  const media = mediaSeconds(mediaTime);
  const parts = [
    wordOf(ControlSignalSchema, signal),
    wordOf(TurnOriginSchema, control.origin),
    wordOf(ReasonSchema, control.reason),
    reasonDetail === undefined || reasonDetail === "" ? "" : `(${printable(reasonDetail)})`,
    control.cancelScope === undefined ? "" : `scope ${wordOf(CancelScopeSchema, control.cancelScope)}`,
    providerId ?? "",
    nodeId === undefined || nodeId === "" ? "" : `node ${nodeId}`,
    media === null ? "" : `at ${media.toFixed(2)} s`,
  ];
  // A reason that is its signal's own name, as of barge_in, is not told twice.
  return [...new Set(parts)].filter((part) => part !== "").join(", ");
}

function mediaSeconds(media: Control["mediaTime"]): number | null {
  if (media?.position.case === "ptsUs") return Number(media.position.value) / 1e6;
  if (media?.position.case !== "sampleIndex" || media.sampleRateHz === 0) return null;
  return Number(media.position.value) / media.sampleRateHz;
}
