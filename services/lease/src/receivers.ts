import { err, ok, type Result } from "@rspp/base/result";
import type { Receiver, ReceiverKind } from "@rspp/gen/rspp/lease/v1/lease_pb";
import { limits } from "@rspp/protocol/limits";

// The machine and the store know receivers by name alone; the contracts also tell their kinds. One name more keeps the kinds
// by name: the machine sorts names, and a takeover adds those of the grant before. No receiver can have it: names that begin
// so are refused.
const kindsMark = "#kinds=";
/** One place is the mark's. */
export const receiversMax = limits.LEASE_RECEIVERS_MAX - 1;

export interface ReceiverProblem {
  readonly field: string;
  readonly rule: string;
  readonly message: string;
}

/** Receivers of a request as the store keeps them. */
export function storedReceivers(
  receivers: readonly Pick<Receiver, "receiverId" | "kind">[],
): Result<string[], ReceiverProblem> {
  const names = receivers.map(({ receiverId }) => receiverId);
  if (names.length > receiversMax) {
    return err({ field: "receivers", rule: "repeated.max_items", message: `must have at most ${receiversMax} items` });
  }
  const bad = names.findIndex((name, i) => name.startsWith(kindsMark) || names.indexOf(name) !== i);
  if (bad >= 0) {
    const message = `must be unique and must not begin with ${kindsMark}`;
    return err({ field: `receivers[${bad}].receiver_id`, rule: "unique", message });
  }
  if (names.length === 0) return ok([]);
  const kinds = Object.fromEntries(receivers.map(({ receiverId, kind }) => [receiverId, kind]));
  return ok([...names, `${kindsMark}${JSON.stringify(kinds)}`]);
}

/** The other way; kind 0 where none was kept. */
export function wireReceivers(stored: readonly string[]): { receiverId: string; kind: ReceiverKind }[] {
  const marks = stored.flatMap((name) => (name.startsWith(kindsMark) ? [kindsOf(name.slice(kindsMark.length))] : []));
  const names = stored.filter((name) => !name.startsWith(kindsMark));
  return names.map((receiverId, i) => ({
    receiverId,
    kind: marks.map((kinds) => kinds(receiverId, i)).find((kind) => kind !== undefined) ?? 0,
  }));
}

/** A mark of the version before names kinds by place. */
function kindsOf(mark: string): (name: string, at: number) => number | undefined {
  if (!mark.startsWith("{")) {
    const kinds = mark.split(",").map(Number);
    return (_name, at) => kinds[at];
  }
  const kinds = new Map(Object.entries(JSON.parse(mark) as Record<string, number>));
  return (name) => kinds.get(name);
}
