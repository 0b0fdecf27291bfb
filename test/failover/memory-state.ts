/** Session state in memory, with the rules of the state service (kernel.md §8). */
import { type SessionName, sessionKey } from "@rspp/base/session-key";
import type { StatePort, StateWritten } from "@rspp/runtime/durable/store";

export interface MemoryState extends StatePort {
  /** False: as a lease service that is away. */
  there: boolean;
  /** Of the newest grant: nothing below it is taken. */
  floor: number;
  writes: number;
  document(session: SessionName): Record<string, unknown> | null;
  has(session: SessionName): boolean;
}

export function memoryState(): MemoryState {
  const rows = new Map<string, { version: number; epoch: number; bytes: Uint8Array }>();
  const state: MemoryState = {
    there: true,
    floor: 1,
    writes: 0,
    document(session) {
      const row = rows.get(sessionKey(session));
      return row === undefined ? null : JSON.parse(new TextDecoder().decode(row.bytes));
    },
    has: (session) => rows.has(sessionKey(session)),
    async read(session) {
      if (!state.there) return { kind: "unreachable" };
      const row = rows.get(sessionKey(session));
      return row === undefined ? { kind: "missing" } : { kind: "found", ...row };
    },
    async write({ session, epoch, expected, bytes }): Promise<StateWritten> {
      if (!state.there) return { kind: "failed" };
      if (epoch < state.floor) return { kind: "fenced" };
      const row = rows.get(sessionKey(session));
      if ((row?.version ?? 0) !== expected) return { kind: "conflict" };
      state.writes += 1;
      rows.set(sessionKey(session), { version: expected + 1, epoch, bytes: new Uint8Array(bytes) });
      return { kind: "written", version: expected + 1 };
    },
    async remove(session, epoch) {
      if (epoch >= state.floor) rows.delete(sessionKey(session));
    },
  };
  return state;
}
