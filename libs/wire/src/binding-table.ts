/** The bindings of one peer on one pair: which `session_ref` stands for what, and what an unknown one means. */
import { ok, type Result } from "@rspp/base/result";
import type { Envelope } from "@rspp/gen/rspp/event/v1/event_pb";
import type { BindSession, LinkEvent } from "@rspp/gen/rspp/runtime/v1/link_pb";
import { limits as protocolLimits } from "@rspp/protocol/limits";
import { type Binding, bindingFromWire, type LinkSender, receiveEvent } from "./binding.ts";
import { refuseField, type WireError, wireError } from "./wire-error.ts";

export interface BindingTable {
  readonly bindings: Map<number, Binding>;
  /** Highest ref each end has bound in this incarnation; refs are never reused in it. */
  readonly highest: Record<LinkSender, number>;
}

/** An event in full; or one to hold until its bind arrives on the other connection; or a refusal. */
export type Resolved =
  | { readonly kind: "event"; readonly envelope: Envelope }
  | { readonly kind: "held"; readonly ref: number }
  | { readonly kind: "refused"; readonly error: WireError };

export function bindingTableCreate(): BindingTable {
  return { bindings: new Map(), highest: { adapter: 0, runtime: 0 } };
}

/** The end that binds a ref: the adapter the odd ones, the runtime the even ones. */
export function binderOf(ref: number): LinkSender {
  return ref % 2 === 1 ? "adapter" : "runtime";
}

/** Takes a bind; a repeated one of the same ref is refused, as is one past the bound of sessions. */
export function tableBind(table: BindingTable, message: BindSession): Result<Binding, WireError> {
  const binding = bindingFromWire(message);
  if (!binding.ok) return binding;
  const { ref } = binding.value;
  const binder = binderOf(ref);
  if (ref <= table.highest[binder]) {
    return refuseField(
      "session_ref",
      "link.ref_reused",
      "was used in this incarnation",
      "bind the next free session_ref",
    );
  }
  if (table.bindings.size >= protocolLimits.LINK_SESSIONS_MAX) {
    return refuseField("session_ref", "link.sessions_full", "no more sessions on this pair", "open another pair");
  }
  table.highest[binder] = ref;
  table.bindings.set(ref, binding.value);
  return ok(binding.value);
}

/** Ends a binding; events under it are refused from now on, never held. */
export function tableUnbind(table: BindingTable, ref: number): void {
  table.bindings.delete(ref);
}

/**
 * Expands an event of `sender`. A ref above all that its binder has bound may be racing its bind and is to be held, within
 * the link machine's bounds; one that was bound before is refused: it never comes back.
 */
export function tableResolve(table: BindingTable, sender: LinkSender, event: LinkEvent): Resolved {
  const ref = event.sessionRef;
  const binding = table.bindings.get(ref);
  if (binding === undefined) {
    if (ref > table.highest[binderOf(ref)]) return { kind: "held", ref };
    return { kind: "refused", error: wireError("session_ref_unknown", { session_ref: String(ref) }) };
  }
  const envelope = receiveEvent(binding, sender, event);
  return envelope.ok ? { kind: "event", envelope: envelope.value } : { kind: "refused", error: envelope.error };
}
