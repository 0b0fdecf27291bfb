/** Signals that the client says, to the caller's line: checked against the closed set, taken once (kernel.md §6, §13). */
import { create } from "@bufbuild/protobuf";
import type { Result } from "@rspp/base/result";
import { type Control, ControlSchema } from "@rspp/gen/rspp/event/v1/control_pb";
import { SignalEmitter } from "@rspp/gen/rspp/event/v1/control_rule_pb";
import type { ClientSignal } from "@rspp/gen/rspp/transport/v1/websocket_pb";
import type { SessionLine } from "@rspp/transport/session-line";
import { controlFromWire, signalClass } from "@rspp/wire/control";
import { signalNames } from "@rspp/wire/names";
import type { WireError } from "@rspp/wire/wire-error";
import type { WireControl } from "@rspp/wire/wire-event";
import { fieldRefusal, type Refusal, wireRefusal } from "./refusal.ts";

/** What a client may say; the rest of the closed set is not its business. */
const CLIENT_SIGNALS: readonly string[] = [
  "end_of_utterance",
  "mute",
  "unmute",
  "stop",
  "cancel",
  "ended",
  "dtmf",
  "transport_signal",
];

export class ClientSignals {
  readonly #line: SessionLine;
  /** Highest sequence that was taken; what is resent below it is known. */
  #seen = 0;

  constructor(line: SessionLine) {
    this.#line = line;
  }

  seen(): number {
    return this.#seen;
  }

  /** Another adapter had the session: the last signal that the client sent to it. */
  goOnAfter(sequence: number): void {
    this.#seen = sequence;
  }

  take(message: ClientSignal): Refusal | null {
    const { caller } = this.#line;
    const sequence = Number(message.sequence);
    if (sequence <= this.#seen) {
      caller.counts.duplicates += 1;
      return null;
    }
    const control = clientControl(message.control);
    if (!control.ok) return control.error;
    const { signal } = control.value;
    const overtakes = signalClass(signal) === "overtaking";
    const { lastMediaSequence, ...fields } = control.value.fields;
    if (typeof lastMediaSequence === "number" && lastMediaSequence > caller.audioSeen()) {
      const said = `says ${lastMediaSequence}, the last audio frame that came is ${caller.audioSeen()}`;
      const field = "signal.control.last_media_sequence";
      return fieldRefusal(field, "sequence.known", said, "give the last audio.sequence sent");
    }
    this.#seen = sequence;
    // The socket keeps order: all audio before a signal is here. The tail inside filter and frame belongs before it, too.
    if (!overtakes && signal !== "dtmf") caller.finishFrame();
    if (signal === "ended") this.#line.callerEnded();
    caller.control(signal, overtakes ? "overtaking" : "positioned", control.value.reason, fields);
    return null;
  }
}

function clientControl(message: Control | undefined): Result<WireControl, Refusal> {
  const name = signalNames.name(message?.signal ?? 0);
  if (message === undefined || !CLIENT_SIGNALS.includes(name)) {
    const said = name === "" ? "is not a control signal" : `${name} is not for a client to say`;
    const remedy = `use one of ${CLIENT_SIGNALS.join(", ")}`;
    return { ok: false, error: fieldRefusal("signal.control.signal", "control.signal", said, remedy) };
  }
  // A client speaks through its adapter: for most signals the closed set knows no other emitter.
  const spoken = create(ControlSchema, { ...message, emitter: SignalEmitter.ADAPTER });
  const control = controlFromWire(spoken, 0, {});
  return control.ok ? control : { ok: false, error: wireRefusal(prefixed(control.error)) };
}

/** The field as the client's frame has it. */
function prefixed(error: WireError): WireError {
  return { ...error, violations: error.violations.map((v) => ({ ...v, field: `signal.${v.field}` })) };
}
