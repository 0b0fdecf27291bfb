/**
 * Reasons: a closed enum on the wire (F-035), free words inside the kernel. A word of the enum maps to it; a word that is
 * a narrower case of one maps to that one; any other maps to INTERNAL. In the last two the kernel's word travels as
 * `reason_detail`, so that nothing is lost, though nobody matches it.
 */
import { Reason, ReasonSchema } from "@rspp/gen/rspp/common/v1/reason_pb";

const byName = new Map<string, Reason>();
const byNumber = new Map<Reason, string>();
for (const value of ReasonSchema.values) {
  if (value.number === 0) continue;
  const name = value.name.slice("REASON_".length).toLowerCase();
  byName.set(name, value.number);
  byNumber.set(value.number, name);
}

/** The kernel's own words that are a narrower case of a reason of the enum. */
const narrower = new Map<string, Reason>([
  ["unauthorized", Reason.PROVIDER_UNAUTHORIZED],
  ["overload", Reason.PROVIDER_OVERLOAD],
  ["disconnect", Reason.PROVIDER_DISCONNECT],
  ["safety_block", Reason.PROVIDER_SAFETY_BLOCK],
  ["empty", Reason.PROVIDER_EMPTY],
  ["error", Reason.PROVIDER_ERROR],
  ["recogniser_failed", Reason.PROVIDER_FAILURE],
  ["threw", Reason.NODE_FAILURE],
  ["cancel_ignored", Reason.NODE_IGNORED_CANCEL],
  ["revoked", Reason.AUTHORITY_LOSS],
  ["granted_elsewhere", Reason.AUTHORITY_LOSS],
  ["authority_lost", Reason.AUTHORITY_LOSS],
  ["speech_candidate", Reason.CANDIDATE_SPEECH],
  ["edge_full", Reason.QUEUE_FULL],
  ["drop_oldest", Reason.QUEUE_FULL],
  ["drop_newest", Reason.QUEUE_FULL],
  ["latest_only", Reason.SUPERSEDED],
  ["coalesce", Reason.COALESCED],
  ["max_block", Reason.MAX_BLOCK_TIME],
  ["open_turns", Reason.OVERLAP],
  ["ended_by_caller", Reason.CALLER_HANGUP],
  ["reconnect_timeout", Reason.TRANSPORT_DISCONNECT_OR_STALL],
  ["drain_deadline", Reason.DRAINING],
  ["drained", Reason.DRAINING],
  ["runtime_draining", Reason.DRAINING],
  ["session_draining", Reason.DRAINING],
  ["runtime_closed", Reason.DRAINING],
]);

export const reasonWords: readonly string[] = [...byName.keys()];

/** `otherwise` is what a word nobody knows maps to. The detail is cut at the contract's 256 characters. */
export function reasonToWire(
  word: string,
  detail = "",
  otherwise: Reason = Reason.INTERNAL,
): { reason: Reason; reasonDetail: string } {
  const exact = byName.get(word);
  if (exact !== undefined) return { reason: exact, reasonDetail: cut(detail) };
  const known = narrower.get(word) ?? staleReason(word) ?? otherwise;
  return { reason: known, reasonDetail: cut(detail === "" ? word : `${word}: ${detail}`) };
}

/** The guard names what was stale: `stale_epoch_audio`, `unknown_epoch_control`. */
function staleReason(word: string): Reason | undefined {
  if (word.startsWith("stale_epoch_")) return Reason.STALE_EPOCH;
  return word.startsWith("unknown_epoch_") ? Reason.EPOCH_UNKNOWN : undefined;
}

/** The enum's word; "" for zero or a number this build does not know. */
export function reasonFromWire(reason: Reason | undefined): string {
  return reason === undefined ? "" : (byNumber.get(reason) ?? "");
}

function cut(detail: string): string {
  // The contract counts code points; half a surrogate pair would not survive UTF-8.
  const points = Array.from(detail.toWellFormed());
  return points.length <= 256 ? points.join("") : points.slice(0, 256).join("");
}
