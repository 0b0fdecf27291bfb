/** What observers at an adapter want to be told of a session, as the link says it. */
import { create } from "@bufbuild/protobuf";
import { type ObserveSession, ObserveSessionSchema } from "@rspp/gen/rspp/runtime/v1/link_pb";
import { EventKind } from "@rspp/gen/rspp/runtime/v1/session_service_pb";
import type { SessionNote } from "@rspp/ports/session-opener";
import type { LinkItem } from "./link-codec.ts";

const numbers: Readonly<Record<SessionNote["kind"], EventKind>> = {
  metrics: EventKind.METRICS,
  debug: EventKind.DEBUG,
  error: EventKind.ERROR,
};
const kinds: readonly SessionNote["kind"][] = ["metrics", "debug", "error"];

/** In place of what was asked before. */
export function observeItem(wanted: readonly SessionNote["kind"][]): LinkItem {
  const value = create(ObserveSessionSchema, {
    kinds: kinds.filter((kind) => wanted.includes(kind)).map((kind) => numbers[kind]),
  });
  return {
    kind: "control",
    payload: { kind: "positioned", message: { case: "observe", value } },
    how: { class: "positioned", afterMedia: false },
  };
}

export function observedOf(message: ObserveSession): SessionNote["kind"][] {
  return kinds.filter((kind) => message.kinds.includes(numbers[kind]));
}
