/** What a holder is told of each of its leases (kernel.md §7: one keep-alive, sessions hold epochs under it). */
import type { Result } from "@rspp/base/result";
import type { GrantRefusal } from "@rspp/protocol/lease-types";
import type { LeaseRow, LeaseView } from "@rspp/store/lease-store";

export type KeptAnswer =
  /** Its epoch may be later than the one asked for: it was rotated since, and the answer was lost. */
  | { readonly kind: "renewed"; readonly lease: LeaseRow }
  /** `epoch` in force, 0 where none is. */
  | { readonly kind: "not_found" | "fenced" | "reissue"; readonly epoch: number };

export function keptAnswer(
  renewed: Result<{ readonly lease: LeaseRow }, GrantRefusal | string>,
  { lease }: LeaseView,
): KeptAnswer {
  if (renewed.ok) return { kind: "renewed", lease: renewed.value.lease };
  const kind = renewed.error === "unknown_session" ? "not_found" : renewed.error === "reissue" ? "reissue" : "fenced";
  return { kind, epoch: lease?.epoch ?? 0 };
}
