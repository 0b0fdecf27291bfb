import { createBell } from "@rspp/host/bell";
import type { LeaseChangeRow, LeaseFilter, LeaseStore } from "@rspp/store/lease-store";
import { sessionName } from "./session-name.ts";

export interface WatchBatch {
  readonly changes: readonly LeaseChangeRow[];
  /** True once every lease of the filter was told; each batch after it holds changes. */
  readonly synced: boolean;
}

const batchMax = 256;
/** Sessions one watcher by holder may have been told of; more ends the watch, to begin again. */
const toldMax = 100_000;

/**
 * Every lease of the filter, then each change as it commits: the newest state of a session, in the order of the store,
 * none left out though several between two looks may come as one. Ends when `signal` aborts; rejects with a StoreError
 * when the store does, and the caller begins again.
 *
 * @param wakeEveryMs looks at least this often, should a notification be lost. Default 1000.
 */
export async function* watchLeases(
  store: LeaseStore,
  filter: LeaseFilter,
  signal: AbortSignal,
  wakeEveryMs = 1_000,
): AsyncGenerator<WatchBatch, void> {
  const alarm = createBell(signal);
  const listener = store.onChange(alarm.ring);
  try {
    const told = new Set<string>();
    const head = await store.head();
    let cursor = 0;
    while (!signal.aborted) {
      const changes = await store.live(filter, cursor, head, batchMax);
      cursor = changes.at(-1)?.seq ?? head;
      for (const { lease } of changes) told.add(sessionName(lease.session));
      yield { changes, synced: changes.length < batchMax };
      if (changes.length < batchMax) break;
    }
    yield* changesSince(store, filter, head, told, () => alarm.wait(wakeEveryMs), signal);
  } finally {
    listener.close();
    alarm.close();
  }
}

async function* changesSince(
  store: LeaseStore,
  filter: LeaseFilter,
  head: number,
  told: Set<string>,
  wait: () => Promise<void>,
  signal: AbortSignal,
): AsyncGenerator<WatchBatch, void> {
  // A lease that leaves its holder must be told to who watches that holder, so the store is asked for all holders.
  const { holder, ...others } = filter;
  let cursor = head;
  while (!signal.aborted) {
    const found = await store.changes(others, cursor, batchMax);
    cursor = found.at(-1)?.seq ?? cursor;
    const changes = holder === undefined ? found : found.filter((change) => concerns(change, holder, told));
    if (changes.length > 0) yield { changes, synced: true };
    if (told.size > toldMax) return;
    if (found.length < batchMax) await wait();
  }
}

function concerns({ lease, ended }: LeaseChangeRow, holder: string, told: Set<string>): boolean {
  const name = sessionName(lease.session);
  const known = told.has(name);
  if (lease.holder === holder && !ended) told.add(name);
  else told.delete(name);
  return known || lease.holder === holder;
}
