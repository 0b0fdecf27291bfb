/** A client whose adapter is gone goes on at another one of the fleet (R4), over sessions by hand. */
import type { OpenedSession } from "@rspp/ports/session-opener";
import { afterEach, describe, expect, test } from "vitest";
import { FakeSession, join, openFake, type Seen, tokenOf, toneFrames, until, type WsRig } from "./websocket-rig.ts";

let rigs: WsRig[] = [];
let seen: Seen | null = null;
afterEach(async () => {
  seen?.client.end();
  await Promise.all(rigs.map(({ transport }) => transport.close()));
  rigs = [];
  seen = null;
});

interface Fleet {
  readonly rig: WsRig;
  left(): boolean;
}

/** An adapter whose sessions can be left to others; it takes live ones with what the runtime has of them. */
async function adapter(secret: string, has = { audioThrough: 0, controlThrough: 0 }): Promise<Fleet> {
  let left = false;
  const sessions = new Map<string, FakeSession>();
  const rig = await openFake({
    resumeSecret: () => secret,
    openSession: async (request) => {
      const session = new FakeSession(request);
      const { tenant, session: sessionId, pipelineVersion } = request.claims;
      sessions.set(sessionId, session);
      const leave = (): void => {
        left = true;
      };
      const value: OpenedSession = { session, epoch: 1, tenant, sessionId, pipelineVersion, leave };
      return { ok: true, value: request.adopt === undefined ? value : { ...value, adopted: has } };
    },
  });
  rigs.push(rig);
  return { rig: { ...rig, session: (id) => sessions.get(id) as FakeSession }, left: () => left };
}

/** Dials whatever address stands in for the fleet's at the time. */
function dialling(address: { url: string }): typeof WebSocket {
  return class extends WebSocket {
    constructor(_url: string | URL, protocols?: ConstructorParameters<typeof WebSocket>[1]) {
      super(address.url, protocols);
    }
  };
}

describe("R4 an adapter stops under a call", () => {
  test("F-091 F-106 its client goes on at another: what it saw is told, frames and signals are numbered on, nothing is lost or said twice", async () => {
    const [one, two] = [await adapter("fleet"), await adapter("fleet", { audioThrough: 7, controlThrough: 3 })];
    const address = { url: one.rig.transport.url };
    seen = await join(address.url, tokenOf("call"), { WebSocket: dialling(address) });
    const { client, texts } = seen;
    const first = one.rig.session("call");
    for (const frame of toneFrames(100)) client.sendAudio(frame);
    first.control("turn_open", 1);
    first.text(1, "assistant", "one");
    first.media(1, 1, 3);
    await until(
      () => texts.length === 1 && (seen?.audio.length ?? 0) > 0 && first.audio().length === 5,
      "the first half",
    );
    // It is being spoken to: not before the end of the grace.
    one.rig.transport.handOff("quiet");
    expect(one.left()).toBe(false);
    address.url = two.rig.transport.url;
    one.rig.transport.handOff("all");
    expect(one.left()).toBe(true);
    client.sendAudio(toneFrames(20)[0] as Int16Array);
    client.endOfUtterance();
    await until(() => two.rig.session("call")?.signals().includes("end_of_utterance"), "the other adapter");
    const second = two.rig.session("call");
    expect([client.session, client.state, client.resumes]).toEqual(["call", "open", 1]);
    expect(second.request.adopt).toMatchObject({ lastTurn: 1, openTurn: { turn: 1, committed: false }, muted: false });
    // The session had seven frames and three signals; the five that the first adapter was sent are not sent again.
    expect(second.audio().map(({ sequence }) => sequence)).toEqual([8]);
    expect(second.received.flatMap((m) => (m.kind === "control" ? [`${m.signal}/${m.sequence}`] : []))).toEqual([
      "connected/4",
      "end_of_utterance/5",
    ]);
    expect(first.signals()).toEqual(["connected", "reconnecting"]);
    second.text(2, "assistant", "two");
    await until(() => texts.length === 2, "what is said next");
    expect(texts.map(({ text }) => text)).toEqual(["one", "two"]);
    expect(two.rig.transport.stats()).toMatchObject({ adopted: 1, sessions: 1 });
    expect(two.rig.audits.map(({ kind }) => kind)).toEqual(["adopted"]);
  });

  test("F-088 R4 an adapter of another fleet takes nobody's session by its key", async () => {
    const [one, stranger] = [await adapter("fleet"), await adapter("another")];
    const address = { url: one.rig.transport.url };
    seen = await join(address.url, tokenOf("call"), { WebSocket: dialling(address) });
    address.url = stranger.rig.transport.url;
    one.rig.transport.handOff("all");
    expect(await seen.client.ended).toBe("session_not_found");
    expect(stranger.rig.transport.stats()).toMatchObject({ adopted: 0, sessions: 0 });
  });
});
