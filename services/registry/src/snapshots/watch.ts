/** One watcher's stream: both directions at once, at most one unanswered offer per kind, so that nothing can pile up. */

import type { MessageInitShape } from "@bufbuild/protobuf";
import type {
  WatchSnapshotsRequest,
  WatchSnapshotsResponseSchema,
} from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import { createBell } from "@rspp/host/bell";
import { fieldError } from "@rspp/host/store-failure";
import { limits } from "@rspp/protocol/limits";
import {
  type AnswerStep,
  createWatchServer,
  serverAnswer,
  serverBehind,
  serverNewest,
  serverSettled,
} from "@rspp/protocol/snapshot-watch-server";
import {
  isSnapshotKind,
  parseSnapshotVersion,
  SNAPSHOT_BOUNDS,
  SNAPSHOT_KINDS,
  type SnapshotKind,
  type SnapshotOffer,
  type SnapshotSubscription,
  snapshotVersion,
  type WatchServerState,
} from "@rspp/protocol/snapshot-watch-types";
import type { StoredSnapshot } from "@rspp/store/snapshot-store";
import { CONTENT_TYPES } from "./contents.ts";
import type { SnapshotHub } from "./hub.ts";

type Response = MessageInitShape<typeof WatchSnapshotsResponseSchema>;

export interface WatchOptions {
  readonly hub: SnapshotHub;
  /** No two connections have the same. */
  readonly connectionId: string;
  readonly signal: AbortSignal;
  /** Told that the watch is there, until what it gives is called. */
  readonly register: (state: WatchServerState) => () => void;
}

const domain = "registry";

/** @throws RpcError naming the field where the first message, or an answer, says nothing that fits. */
export async function* watchSnapshots(
  requests: AsyncIterable<WatchSnapshotsRequest>,
  { hub, connectionId, signal, register }: WatchOptions,
): AsyncGenerator<Response, void> {
  const asked = requests[Symbol.asyncIterator]();
  const first = await asked.next();
  if (first.done === true) return;
  const state = createWatchServer(first.value.instanceId, connectionId, subscriptionOf(first.value));
  const bell = createBell(signal);
  const forget = register(state);
  const hears = hub.listen(bell.ring);
  const answers = hearAnswers(asked, state, hub, bell.ring);
  const { offers } = answers;
  /** What the state knows as the newest: content and number of an offer belong together, however the hub goes on. */
  const seen = new Map<SnapshotKind, StoredSnapshot>();
  try {
    while (!signal.aborted && !answers.ended) {
      if (answers.failure !== null) throw answers.failure;
      for (const kind of watchedKinds(state)) {
        const newest = hub.newest(kind);
        if (newest === undefined || newest.version <= (seen.get(kind)?.version ?? 0)) continue;
        seen.set(kind, newest);
        const offer = serverNewest(state, kind, newest.version);
        if (offer !== null) offers.push(offer);
        const above = serverBehind(state, kind);
        if (above !== null) hub.raise(kind, above);
      }
      for (let offer = offers.shift(); offer !== undefined; offer = offers.shift()) {
        const snapshot = seen.get(offer.kind);
        if (snapshot?.version === offer.version) yield offerToWire(offer, snapshot);
      }
      if (hub.inTouch) yield* unchanged(state, seen);
      await bell.wait(limits.SNAPSHOT_UNCHANGED_EVERY_MS);
    }
    if (answers.failure !== null) throw answers.failure;
  } finally {
    hears();
    forget();
    bell.close();
  }
}

interface Answers {
  ended: boolean;
  failure: unknown;
  readonly offers: SnapshotOffer[];
}

/** Reads what the watcher says beside what is sent to it. */
function hearAnswers(
  asked: AsyncIterator<WatchSnapshotsRequest>,
  state: WatchServerState,
  hub: SnapshotHub,
  ring: () => void,
): Answers {
  const heard: Answers = { ended: false, failure: null, offers: [] };
  const read = async (): Promise<void> => {
    for (let next = await asked.next(); next.done !== true; next = await asked.next()) {
      const step = answerOf(state, next.value);
      if (step.offer !== null) heard.offers.push(step.offer);
      if (step.refused !== null) {
        const { version, reason } = step.refused;
        hub.noteRefusal({ instanceId: state.watcher, version, reason });
      }
      ring();
    }
  };
  read()
    .catch((failure: unknown) => {
      heard.failure = failure;
    })
    .finally(() => {
      heard.ended = true;
      ring();
    });
  return heard;
}

function answerOf(state: WatchServerState, { nonce, refused }: WatchSnapshotsRequest): AnswerStep & { ok: true } {
  const reason = refused?.metadata.problem?.slice(0, 512) ?? "";
  const answer =
    refused === undefined ? { type: "accepted" as const, nonce } : { type: "refused" as const, nonce, reason };
  const step = serverAnswer(state, answer);
  if (!step.ok) throw fieldError(domain, { field: "nonce", rule: "outstanding", message: step.problem });
  return step;
}

function subscriptionOf(first: WatchSnapshotsRequest): SnapshotSubscription {
  const unknown = first.kinds.findIndex((kind) => !isSnapshotKind(kind));
  if (first.kinds.length === 0 || unknown >= 0) {
    const field = unknown < 0 ? "kinds" : `kinds[${unknown}]`;
    throw fieldError(domain, { field, rule: "in", message: `is one of ${SNAPSHOT_KINDS.join(", ")}` });
  }
  const accepted = versionsOf("accepted_versions", [...first.acceptedVersions, first.acceptedVersion].filter(Boolean));
  const refused = versionsOf("refused_versions", first.refusedVersions);
  const kinds = [...new Set(first.kinds.filter(isSnapshotKind))];
  return { kinds: kinds.map((kind) => ({ kind, accepted: accepted.get(kind) ?? 0, refused: refused.get(kind) ?? 0 })) };
}

function versionsOf(field: string, texts: readonly string[]): Map<SnapshotKind, number> {
  const found = new Map<SnapshotKind, number>();
  texts.forEach((text, i) => {
    const version = parseSnapshotVersion(text);
    if (version === null) {
      const message = "is <kind>@<number>, e.g. policy@7";
      throw fieldError(domain, { field: `${field}[${i}]`, rule: "version", message });
    }
    found.set(version.kind, version.version);
  });
  return found;
}

function offerToWire({ kind, version, nonce }: SnapshotOffer, { takenWallMs, content }: StoredSnapshot): Response {
  return {
    snapshot: { kind, version: snapshotVersion(kind, version), takenWallMs: BigInt(takenWallMs) },
    nonce,
    content,
    contentType: CONTENT_TYPES[kind],
    maxStalenessMs: SNAPSHOT_BOUNDS[kind].holdMs,
  };
}

function* unchanged(state: WatchServerState, seen: ReadonlyMap<SnapshotKind, StoredSnapshot>): Generator<Response> {
  for (const kind of watchedKinds(state)) {
    const version = serverSettled(state, kind);
    const newest = seen.get(kind);
    if (version === null || newest === undefined) continue;
    yield {
      snapshot: { kind, version: snapshotVersion(kind, version), takenWallMs: BigInt(newest.takenWallMs) },
      nonce: "unchanged",
      contentType: CONTENT_TYPES[kind],
      unchanged: true,
      maxStalenessMs: SNAPSHOT_BOUNDS[kind].holdMs,
    };
  }
}

export function watchedKinds(state: WatchServerState): SnapshotKind[] {
  return Object.keys(state.kinds).filter(isSnapshotKind);
}
