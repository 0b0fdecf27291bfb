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

/** Who wants to be told of which notes. */
export class Observers {
  readonly #changed: () => void;
  readonly #all = new Map<(note: SessionNote) => void, readonly SessionNote["kind"][]>();

  constructor(changed: () => void) {
    this.#changed = changed;
  }

  /** @returns what ends it. */
  add(kinds: readonly SessionNote["kind"][], tell: (note: SessionNote) => void): () => void {
    this.#all.set(tell, [...kinds]);
    this.#changed();
    return () => {
      if (this.#all.delete(tell)) this.#changed();
    };
  }

  tell(note: SessionNote): void {
    for (const [tell, kinds] of this.#all) if (kinds.includes(note.kind)) tell(note);
  }

  kinds(): SessionNote["kind"][] {
    return [...new Set([...this.#all.values()].flat())];
  }
}
