/** Frames of the link machine (`libs/protocol`) <-> the messages of the two connections of a pair. */
import { create } from "@bufbuild/protobuf";
import { err, ok, type Result } from "@rspp/base/result";
import type { Envelope } from "@rspp/gen/rspp/event/v1/event_pb";
import {
  BreakSessionSchema,
  type LinkControlFrame,
  LinkControlFrameSchema,
  type LinkEvent,
  LinkEventSchema,
  type LinkReceipt,
  type LinkReceipts,
  LinkReceiptsSchema,
  SessionBoundSchema,
  type UnbindSession,
  UnbindSessionSchema,
} from "@rspp/gen/rspp/runtime/v1/link_pb";
import type { Cutoff, LinkFrame, MediaLane, Receipt } from "@rspp/protocol/link-types";
import { type Binding, bindToWire, type LinkSender, receiveEvent, shorten } from "./binding.ts";
import { type BindingTable, binderOf } from "./binding-table.ts";
import { CUTS_NOTHING, cutoffFromWire } from "./cutoff.ts";
import {
  type LinkPayload,
  overtakingFromWire,
  overtakingToWire,
  positionedFromWire,
  positionedToWire,
} from "./link-control.ts";
import { breakReasonNames, dropReasonNames, laneNames } from "./names.ts";
import { reasonFromWire, reasonToWire } from "./reason.ts";
import { validate } from "./validate.ts";
import { refuseField, type WireError, wireError } from "./wire-error.ts";

export type WireFrame = LinkFrame<LinkPayload>;
/** A message and the connection it travels on. */
export type LinkMessage =
  | { readonly connection: "control"; readonly frame: LinkControlFrame }
  | { readonly connection: "media"; readonly event: LinkEvent };

/** What an event counts for credit; both ends compute the same from the event. Bytes are of the payload. */
export function eventCost({ payload }: Envelope): { audioUs: number; bytes: number } {
  switch (payload.case) {
    case "audio":
      return { audioUs: payload.value.durationUs, bytes: payload.value.data.length };
    case "text":
      return { audioUs: 0, bytes: 2 * payload.value.text.length };
    case "opaque":
      return { audioUs: 0, bytes: payload.value.data.length };
    default:
      return { audioUs: 0, bytes: smallEventBytes };
  }
}

/** What a payload without bytes of its own counts. */
const smallEventBytes = 64;

/** Encodes a frame of `sender`; `baseWallMs` is used by binds only. */
export function frameToWire(
  table: BindingTable,
  sender: LinkSender,
  frame: WireFrame,
  baseWallMs: number,
): Result<LinkMessage, WireError> {
  switch (frame.kind) {
    case "bind": {
      const bind = bindToWire(frame.ref, frame.constants, baseWallMs, frame.supersedes);
      return bind.ok ? control({ case: "bind", value: bind.value }) : bind;
    }
    case "receipts":
      return control({ case: "receipts", value: receiptsToWire(frame.entries) });
    case "bound":
      return control({ case: "bound", value: create(SessionBoundSchema, { sessionRef: frame.ref }) });
    case "break": {
      const reason = breakReasonNames.number(frame.reason) ?? 0;
      return control({ case: "break", value: create(BreakSessionSchema, { sessionRef: frame.ref, reason }) });
    }
    case "unbind":
      return control({ case: "unbind", value: unbindToWire(frame) });
    case "skip":
      return ok({ connection: "media", event: skipToWire(frame) });
    default: {
      const binding = table.bindings.get(frame.ref);
      return binding === undefined ? unknownRef(frame.ref) : boundToWire(binding, sender, frame);
    }
  }
}

function boundToWire(
  binding: Binding,
  sender: LinkSender,
  frame: Extract<WireFrame, { kind: "event" | "overtaking" | "positioned" }>,
): Result<LinkMessage, WireError> {
  if (frame.kind === "overtaking") {
    const value = overtakingToWire(binding, sender, frame);
    return value.ok ? ok(checked({ case: "overtaking", value: value.value })) : value;
  }
  if (frame.kind === "positioned") {
    const value = positionedToWire(binding, sender, frame);
    return value.ok ? ok(checked({ case: "positioned", value: value.value })) : value;
  }
  if (frame.payload.kind !== "event") {
    return refuseField("payload", "link.lane", "only events travel on the media connection", "send it as control");
  }
  const { seq: sequence, sentAudioUs, sentBytes } = frame;
  const event = shorten(binding, sender, frame.payload.envelope, { sequence, sentAudioUs, sentBytes });
  return event.ok ? ok({ connection: "media", event: event.value }) : event;
}

type ControlCase = LinkControlFrame["frame"];

function control(frame: ControlCase): Result<LinkMessage, WireError> {
  const message = checked(frame);
  const valid = validate(LinkControlFrameSchema, message.frame);
  return valid.ok ? ok(message) : valid;
}

/** What it carries has been held against its own schema already; the frame adds no rule to that. */
function checked(frame: ControlCase): Extract<LinkMessage, { connection: "control" }> {
  const message = create(LinkControlFrameSchema);
  message.frame = frame;
  return { connection: "control", frame: message };
}

function receiptsToWire(entries: readonly Receipt[]): LinkReceipts {
  return create(LinkReceiptsSchema, {
    receipts: entries.map(({ ref, grantedAudioUs, grantedBytes, acked }) => ({
      sessionRef: ref,
      grantedAudioUs,
      grantedBytes,
      acted: { ...acked },
    })),
  });
}

/** The machine's reason is free text; the contract's is the closed enum, so a narrower word is told by its wider one. */
function unbindToWire(frame: Extract<WireFrame, { kind: "unbind" }>): UnbindSession {
  return create(UnbindSessionSchema, {
    sessionRef: frame.ref,
    sequence: frame.seq,
    lastMediaSequence: frame.lastMediaSeq,
    reason: reasonToWire(frame.reason).reason,
  });
}

function skipToWire(frame: Extract<WireFrame, { kind: "skip" }>): LinkEvent {
  return create(LinkEventSchema, {
    sessionRef: frame.ref,
    lane: laneNames.number(frame.lane) ?? 0,
    sequence: frame.seq,
    skipToSequence: frame.toSeq,
    skipReason: dropReasonNames.number(frame.reason) ?? 0,
  });
}

function unknownRef(ref: number): { readonly ok: false; readonly error: WireError } {
  return err(wireError("session_ref_unknown", { session_ref: String(ref) }));
}

/** What arrived: a frame for the link machine, or a message that is none of its business (ping, limits, fault …). */
export type Arrived =
  | { readonly kind: "frame"; readonly frame: WireFrame }
  | { readonly kind: "held"; readonly ref: number }
  | { readonly kind: "other"; readonly message: LinkControlFrame };

/**
 * Reads a message of the control connection. Binds must have gone through `tableBind` before what they bind can be read;
 * an event of a ref that is not bound yet is to be held as it came and read again.
 */
export function controlFrameFromWire(
  table: BindingTable,
  sender: LinkSender,
  message: LinkControlFrame,
): Result<Arrived, WireError> {
  const valid = validate(LinkControlFrameSchema, message);
  if (!valid.ok) return valid;
  const { frame } = message;
  switch (frame.case) {
    case "bind": {
      const binding = table.bindings.get(frame.value.sessionRef);
      if (binding === undefined) return unknownRef(frame.value.sessionRef);
      const supersedes = frame.value.supersedesSessionRef === 0 ? null : frame.value.supersedesSessionRef;
      return arrived({ kind: "bind", ref: binding.ref, constants: binding.constants, supersedes });
    }
    case "bound":
      return arrived({ kind: "bound", ref: frame.value.sessionRef });
    case "break":
      return arrived({ kind: "break", ref: frame.value.sessionRef, reason: breakReason(frame.value.reason) });
    case "receipts":
      return arrived({ kind: "receipts", entries: frame.value.receipts.map(receiptFromWire) });
    case "unbind": {
      const { sessionRef: ref, sequence: seq, lastMediaSequence: lastMediaSeq, reason } = frame.value;
      return arrived({ kind: "unbind", ref, seq, lastMediaSeq, reason: reasonFromWire(reason) });
    }
    case "overtaking":
    case "positioned":
      return boundControl(table, sender, frame);
    default:
      return ok({ kind: "other", message });
  }
}

function arrived(frame: WireFrame): Result<Arrived, WireError> {
  return ok({ kind: "frame", frame });
}

function boundControl(
  table: BindingTable,
  sender: LinkSender,
  frame: Extract<ControlCase, { case: "overtaking" | "positioned" }>,
): Result<Arrived, WireError> {
  const { sessionRef: ref, sequence: seq } = frame.value;
  const binding = table.bindings.get(ref);
  if (binding === undefined) return unbound(table, ref);
  if (frame.case === "positioned") {
    const payload = positionedFromWire(binding, sender, frame.value);
    const lastMediaSeq = frame.value.lastMediaSequence;
    return payload.ok ? arrived({ kind: "positioned", ref, seq, lastMediaSeq, payload: payload.value }) : payload;
  }
  const cutoff = oneCutoff(frame.value.cutoffs.map(cutoffFromWire));
  if (cutoff === null) {
    return refuseField("cutoffs", "link.one_cutoff", "this build acts on one cut-off", "send one message per turn");
  }
  const payload = overtakingFromWire(binding, sender, frame.value);
  return payload.ok ? arrived({ kind: "overtaking", ref, seq, cutoff, payload: payload.value }) : payload;
}

function oneCutoff(cutoffs: readonly Cutoff[]): Cutoff | null {
  return cutoffs.length > 1 ? null : (cutoffs[0] ?? { ...CUTS_NOTHING });
}

function unbound(table: BindingTable, ref: number): Result<Arrived, WireError> {
  return ref > table.highest[binderOf(ref)] ? ok({ kind: "held", ref }) : unknownRef(ref);
}

/** Reads an event or a declared drop of the media connection. */
export function mediaFromWire(table: BindingTable, sender: LinkSender, event: LinkEvent): Result<Arrived, WireError> {
  const ref = event.sessionRef;
  const lane = mediaLane(event.lane);
  if (lane === null) return refuseField("lane", "link.lane", "control has its own connection", "send it there");
  const binding = table.bindings.get(ref);
  if (binding === undefined) return unbound(table, ref);
  if (event.skipToSequence !== 0) {
    const valid = validate(LinkEventSchema, event);
    if (!valid.ok) return valid;
    const reason = (["fenced", "overflow", "closed"] as const).find(
      (name) => name === dropReasonNames.name(event.skipReason),
    );
    if (event.skipToSequence < event.sequence || reason === undefined) {
      return refuseField("skip_to_sequence", "link.skip", "a declared drop has a range and a reason", "mend the range");
    }
    return arrived({ kind: "skip", ref, lane, seq: event.sequence, toSeq: event.skipToSequence, reason });
  }
  const envelope = receiveEvent(binding, sender, event);
  if (!envelope.ok) return envelope;
  const turn = event.turnNumber === 0 ? null : event.turnNumber;
  const { sequence: seq, fenceGeneration: generation, sentAudioUs, sentBytes } = event;
  const cost = eventCost(envelope.value);
  const payload: LinkPayload = { kind: "event", envelope: envelope.value };
  return arrived({ kind: "event", ref, lane, seq, turn, generation, ...cost, sentAudioUs, sentBytes, payload });
}

function mediaLane(lane: number): MediaLane | null {
  const name = laneNames.name(lane);
  return name === "data" || name === "telemetry" ? name : null;
}

type BreakReason = Extract<WireFrame, { kind: "break" }>["reason"];
const breakReasons: readonly BreakReason[] = [
  "sessions_full",
  "bad_ref",
  "bind_timeout",
  "credit_violation",
  "positioned_overflow",
  "pair_dead",
];

/** Validation has refused numbers outside the enum. */
function breakReason(reason: number): BreakReason {
  return breakReasons.find((name) => name === breakReasonNames.name(reason)) ?? "pair_dead";
}

function receiptFromWire(receipt: LinkReceipt): Receipt {
  const { control: controlMark = 0, data = 0, telemetry = 0 } = receipt.acted ?? {};
  return {
    ref: receipt.sessionRef,
    grantedAudioUs: receipt.grantedAudioUs,
    grantedBytes: receipt.grantedBytes,
    acked: { control: controlMark, data, telemetry },
  };
}
