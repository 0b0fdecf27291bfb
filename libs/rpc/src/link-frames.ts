/** Messages of a link that its driver makes and reads itself, without the machine. */
import { create } from "@bufbuild/protobuf";
import type { MonoNs } from "@rspp/base/brand";
import type { Reason } from "@rspp/gen/rspp/common/v1/reason_pb";
import {
  BreakSessionSchema,
  LinkBreakReason,
  type LinkControlFrame,
  LinkControlFrameSchema,
  type LinkEvent,
  LinkFaultSchema,
  LinkGoAwaySchema,
  LinkPingSchema,
  LinkPongSchema,
} from "@rspp/gen/rspp/runtime/v1/link_pb";
import type { LinkOutput } from "@rspp/protocol/link-types";
import type { LinkPayload } from "@rspp/wire/link-control";
import { toErrorDetail, type WireError } from "@rspp/wire/wire-error";
import type { LinkIncoming } from "./link-api.ts";

function controlFrame(frame: LinkControlFrame["frame"]): LinkControlFrame {
  return create(LinkControlFrameSchema, { frame });
}

export function pingFrame(nonce: bigint): LinkControlFrame {
  return controlFrame({ case: "ping", value: create(LinkPingSchema, { nonce }) });
}

export function pongFrame(nonce: bigint): LinkControlFrame {
  return controlFrame({ case: "pong", value: create(LinkPongSchema, { nonce }) });
}

export function goAwayFrame(reason: Reason, deadlineMs: number): LinkControlFrame {
  return controlFrame({ case: "goAway", value: create(LinkGoAwaySchema, { reason, deadlineMs }) });
}

/** Breaks a session off because of what the peer sent under it. */
export function breakFrame(sessionRef: number, error: WireError, domain: string): LinkControlFrame {
  const full = error.violations.some((v) => v.rule === "link.sessions_full");
  const reason = full ? LinkBreakReason.SESSIONS_FULL : LinkBreakReason.BAD_REF;
  const value = create(BreakSessionSchema, { sessionRef, reason, error: toErrorDetail(error, domain) });
  return controlFrame({ case: "break", value });
}

export function faultFrame(sessionRef: number, sequence: number, error: WireError, domain: string): LinkControlFrame {
  const value = create(LinkFaultSchema, { sessionRef, sequence, error: toErrorDetail(error, domain) });
  return controlFrame({ case: "fault", value });
}

export type Raw = { readonly control: LinkControlFrame } | { readonly media: LinkEvent };

/** The session and place a message names; 0 for none. */
export function placeOf(raw: Raw): { ref: number; seq: number } {
  if ("media" in raw) return { ref: raw.media.sessionRef, seq: raw.media.sequence };
  const { value } = raw.control.frame;
  return {
    ref: value !== undefined && "sessionRef" in value ? value.sessionRef : 0,
    seq: value !== undefined && "sequence" in value ? value.sequence : 0,
  };
}

export type Delivered = Extract<
  LinkOutput<LinkPayload>,
  { kind: "event" | "overtaking" | "positioned" | "gap" | "skipped" }
>;

/** What a session's taker is given; null for a payload that is no event, which the reader never lets through. */
export function incomingOf(output: Delivered, readAtNs: MonoNs): LinkIncoming | null {
  if (output.kind !== "event") {
    const { ref: _, ...rest } = output;
    return { ...rest, readAtNs };
  }
  const { lane, seq, turn, generation, audioUs, bytes, payload } = output.event;
  if (payload.kind !== "event") return null;
  return { kind: "event", readAtNs, lane, seq, turn, generation, audioUs, bytes, envelope: payload.envelope };
}
