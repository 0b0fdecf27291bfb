import type { ErrorDetail } from "@rspp/gen/rspp/common/v1/error_pb";
import type { Clock } from "@rspp/ports/clock";
import type { LinkPeer } from "@rspp/rpc/link-server";
import type { OpenAsk } from "./link-open.ts";
import type { RuntimeBinding } from "./link-runtime-binding.ts";

/** What every session of this runtime shares. */
export interface RuntimeShared {
  readonly clock: Clock;
  readonly domain: string;
  /** Admits, refuses or goes on with a session; answers through the binding. */
  open(binding: RuntimeBinding, ask: OpenAsk): void;
  refused(where: { tenant: string; session: string; peer: LinkPeer }, detail: ErrorDetail): void;
  /** A message could not be said on a link. */
  unsent(kind: string): void;
  duplicate(): void;
  /** A positioned message acted before its media (kernel.md §6). */
  forced(): void;
}
