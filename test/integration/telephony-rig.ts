/** The telephone transport over a fake session, and a carrier that calls it. */
import type { OpenedSession } from "@rspp/ports/session-opener";
import type { AuditEntry } from "@rspp/transport/audit";
import {
  openTelephoneTransport,
  type TelephoneTransport,
  type TelephoneTransportOptions,
} from "@rspp/transport-telephony/server";
import type { IncomingCall } from "@rspp/transport-telephony/webhooks";
import { AUTH_TOKEN, type CallOptions, type CarrierCall, dialIn } from "../fakes/twilio/carrier.ts";
import { clock, FakeSession, tokenOf, verifier } from "./websocket-rig.ts";

export interface PhoneRig {
  readonly transport: TelephoneTransport;
  readonly voiceUrl: string;
  readonly audits: AuditEntry[];
  readonly incoming: IncomingCall[];
  session(id: string): FakeSession;
  sessions(): number;
  /** A call whose session has this id. */
  call(id: string, options?: CallOptions): Promise<{ carrier: CarrierCall; session: FakeSession }>;
}

export async function openPhone(over: Partial<TelephoneTransportOptions> = {}): Promise<PhoneRig> {
  const sessions = new Map<string, FakeSession>();
  const audits: AuditEntry[] = [];
  const incoming: IncomingCall[] = [];
  let next = "call";
  const transport = await openTelephoneTransport({
    clock,
    verifier,
    port: 0,
    authToken: () => Promise.resolve(AUTH_TOKEN),
    policy: { machine: "talk", notice: "", afterUrl: "" },
    audit: (entry) => audits.push(entry),
    route: (call) => {
      incoming.push(call);
      return Promise.resolve({ ok: true, value: { url: transport.url, token: tokenOf(next) } });
    },
    openSession: (request) => {
      const session = new FakeSession(request);
      sessions.set(request.claims.session, session);
      const { tenant, session: sessionId, pipelineVersion } = request.claims;
      const value: OpenedSession = { session, epoch: 1, tenant, sessionId, pipelineVersion };
      return Promise.resolve({ ok: true, value });
    },
    ...over,
  });
  const sessionOf = (id: string): FakeSession => {
    const found = sessions.get(id);
    if (found === undefined) throw new Error(`no session ${id}`);
    return found;
  };
  const voiceUrl = `${transport.url.replace(/^ws/, "http").replace(/\/v1\/.*/, "")}/v1/twilio/voice`;
  return {
    transport,
    voiceUrl,
    audits,
    incoming,
    session: sessionOf,
    sessions: () => sessions.size,
    call: async (id, options = {}) => {
      next = id;
      const carrier = await dialIn(voiceUrl, options);
      const endMs = performance.now() + 5_000;
      while (!sessions.has(id)) {
        if (performance.now() > endMs || carrier.closed !== null)
          throw new Error(`no session: ${JSON.stringify(carrier.closed)}`);
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
      return { carrier, session: sessionOf(id) };
    },
  };
}

/** Sound heard by the carrier's ear of each turn, microseconds: a message belongs to the turn of the mark that follows it. */
export function heardByTurn({ playout }: CarrierCall): Map<number, number> {
  playout.advance();
  const turnOf = new Map<number, number>();
  let waiting: number[] = [];
  let last = 0;
  playout.got.forEach(({ kind, name }, n) => {
    if (kind === "media") waiting.push(n);
    if (kind !== "mark") return;
    last = Number(name.split(".")[0]);
    for (const one of waiting) turnOf.set(one, last);
    waiting = [];
  });
  for (const one of waiting) turnOf.set(one, last);
  const heard = new Map<number, number>();
  for (const { n, bytes } of playout.heard) {
    const turn = turnOf.get(n) ?? 0;
    heard.set(turn, (heard.get(turn) ?? 0) + (bytes.length / 8) * 1_000);
  }
  return heard;
}
