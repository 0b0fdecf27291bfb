/** The lease store in memory: what the service's logic needs to decide, one call at a time. For the checker's own tests. */
import type { LeaseRequest, LeaseRow, LeaseStore, LeaseStoreState, LeaseView } from "@rspp/store/lease-store";
import type { SessionKey } from "@rspp/store/state-store";

interface Kept {
  readonly lease: LeaseRow;
  readonly ended: boolean;
}

const nameOf = ({ tenantId, sessionId }: SessionKey): string => JSON.stringify([tenantId, sessionId]);

export function memoryLeaseStore(incarnation: number, nowWallMs: () => number) {
  let state: LeaseStoreState = { incarnation, lastEpoch: incarnation * 2 ** 32, lostRunOutWallMs: 0, sessionCount: 0 };
  const kept = new Map<string, Kept>();
  const requests = new Map<string, LeaseRequest>();
  const viewOf = (session: SessionKey, requestKey: string): LeaseView => {
    const found = kept.get(nameOf(session));
    const request = requests.get(`${nameOf(session)} ${requestKey}`);
    return { store: state, lease: found?.ended === false ? found.lease : undefined, request, nowWallMs: nowWallMs() };
  };
  const none = async () => [];
  const store: LeaseStore = {
    update: async (session, _mode, decide, requestKey = "") => {
      const view = viewOf(session, requestKey);
      const { answer, store: next, lease, request } = decide(view);
      state = next ?? state;
      if (lease) kept.set(nameOf(session), { lease, ended: false });
      if (lease === null && view.lease) kept.set(nameOf(session), { lease: view.lease, ended: true });
      if (request && requestKey !== "") requests.set(`${nameOf(session)} ${requestKey}`, request);
      return answer;
    },
    renewAll: async (sessions, decide) =>
      sessions.map((session, i) => {
        const { answer, lease } = decide(viewOf(session, ""), i);
        if (lease) kept.set(nameOf(session), { lease, ended: false });
        return answer;
      }),
    get: async (session) => {
      const found = kept.get(nameOf(session));
      return found && { ...found, nowWallMs: nowWallMs() };
    },
    ofReceiver: async () => ({ store: state, leases: [] }),
    head: async () => 0,
    live: none,
    changes: none,
    expired: none,
    onChange: () => ({ close: () => undefined }),
    acknowledgeFloors: async () => undefined,
    floors: none,
    reopen: async () => incarnation,
    distrustClock: async () => undefined,
    incarnation: async () => incarnation,
    purgeEnded: async () => 0,
  };
  return store;
}
