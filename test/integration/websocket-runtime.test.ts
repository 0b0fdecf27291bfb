/** The shipped runtime behind the shipped WebSocket transport, spoken to by the shipped client, in real time. */

import type { SocketConstructor } from "@rspp/client/types";
import { replayJournal } from "@rspp/kernel/replay";
import type { SessionConfig } from "@rspp/kernel/session-config";
import type { SessionNote, SessionOpener } from "@rspp/ports/session-opener";
import type { VadPort } from "@rspp/ports/vad";
import { createProviderGateway } from "@rspp/provider-gateway/gateway";
import { createSimLlm } from "@rspp/provider-gateway/sim/llm";
import { createSimStt } from "@rspp/provider-gateway/sim/stt";
import { createSimTts } from "@rspp/provider-gateway/sim/tts";
import { createRuntime, type Runtime, type RuntimeSession } from "@rspp/runtime/runtime";
import { createMemoryStore } from "@rspp/runtime/spool/memory-store";
import { createSpool } from "@rspp/runtime/spool/spool";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type CallSettings, simConfig } from "./rig.ts";
import { clock, join, openFake, type Seen, tokenOf, toneFrames, until, type WsRig } from "./websocket-rig.ts";

let runtime: Runtime;
let ws: WsRig;
const settings = new Map<string, CallSettings>();
const live = new Map<string, { session: RuntimeSession; config: SessionConfig }>();

/** Loud is speech. */
const vad: VadPort = {
  name: "level",
  openSession: () => ({
    push(frame, onResult) {
      const speech = new Int16Array(frame.slice().buffer).some((v) => Math.abs(v) > 4_000);
      onResult({ speech, probability: speech ? 1 : 0 });
    },
    reset: () => {},
    close: () => {},
  }),
  close: () => {},
};

/** The runtime in the same process as the adapter: what `rspp up` wires. */
const openSession: SessionOpener = async ({ claims, transport }) => {
  const base = simConfig(claims.session, settings.get(claims.session) ?? {});
  const config = { ...base, tenantId: claims.tenant, policy: { ...base.policy, reconnectMs: 10_000 } };
  const opened = runtime.openSession({ config, transport, keepJournal: true });
  if (!opened.ok) return { ok: false, error: { reason: "capacity_exhausted", remedy: opened.error.detail } };
  const session = opened.value;
  live.set(claims.session, { session, config });
  const observe = (kinds: readonly SessionNote["kind"][], tell: (note: SessionNote) => void): (() => void) => {
    const subscription = session.events.subscribe({
      kinds,
      onReady: (queue) => {
        for (let event = queue.take(); event !== undefined; event = queue.take()) tell(event as SessionNote);
      },
    });
    return () => subscription?.close();
  };
  const { epoch } = config.authority;
  const value = { session, epoch, tenant: claims.tenant, sessionId: claims.session, observe };
  return { ok: true, value: { ...value, pipelineVersion: claims.pipelineVersion, reconnectMs: 10_000 } };
};

beforeAll(async () => {
  const providers = [createSimLlm({ clock }), createSimTts({ clock }), createSimStt({ clock })];
  const spool = createSpool({ store: createMemoryStore(), clock });
  runtime = createRuntime({ clock, providers: createProviderGateway({ clock, providers }), vad, spool });
  ws = await openFake({ openSession });
});

afterAll(async () => {
  await ws.transport.close();
  await runtime.close();
});

/** A microphone in real time: silence, unless something is said. */
function microphone(seen: Seen): { say(ms: number): void; stop(): void } {
  const speech: Int16Array[] = [];
  const silence = new Int16Array(320);
  const startNs = clock.nowNs();
  let sent = 0;
  const timer = setInterval(() => {
    while (sent * 20e6 <= clock.nowNs() - startNs && seen.client.state !== "closed") {
      seen.client.sendAudio(speech.shift() ?? silence);
      sent += 1;
    }
  }, 10);
  return { say: (ms) => void speech.push(...toneFrames(ms)), stop: () => clearInterval(timer) };
}

async function talk(
  id: string,
  own: CallSettings & { WebSocket?: SocketConstructor },
  work: (seen: Seen, say: (ms: number) => void) => Promise<void>,
): Promise<Seen> {
  settings.set(id, own);
  const seen = await join(ws.transport.url, tokenOf(id), {
    wantMetrics: true,
    wantDebug: true,
    pingMs: 500,
    WebSocket: own.WebSocket ?? WebSocket,
  });
  const mic = microphone(seen);
  try {
    await work(seen, mic.say);
  } finally {
    mic.stop();
    seen.client.end();
  }
  await seen.client.ended;
  const { session, config } = live.get(id) ?? {};
  if (session === undefined || config === undefined) throw new Error(`no session ${id}`);
  await session.ended;
  // The journal of a live session replays to the same effects, whatever the network did.
  expect(replayJournal(config, session.journal())).toMatchObject({ identical: true, divergences: [] });
  return seen;
}

/** A network that can be away: what is dialled meanwhile does not answer. */
function network(): { away: boolean; WebSocket: SocketConstructor } {
  const state = { away: false, WebSocket };
  state.WebSocket = class extends WebSocket {
    constructor(url: string, protocols: string[]) {
      super(state.away ? "ws://127.0.0.1:9/" : url, protocols);
    }
  } as typeof WebSocket;
  return state;
}

const settled = (seen: Seen, turn: number): boolean =>
  seen.audio.some((f) => f.turn === turn && f.end) || seen.flushes.some((f) => f.turn === turn);

// In real time: side by side, since they wait rather than work.
describe.concurrent("the runtime over WebSocket", () => {
  test("F-084 a spoken turn: words, answer, sound, delivery, metrics; and the call ends", async () => {
    const own = { stt: { transcripts: ["a question"] }, llm: { text: "A short answer." }, tts: { ms_per_char: 20 } };
    const metrics: string[] = [];
    const seen = await talk("spoken", own, async (seen, say) => {
      seen.client.on("metrics", (m) => metrics.push(...m.samples.map((s) => s.name)));
      say(400);
      await until(() => seen.turns.some((t) => t.phase === "close"), "the turn");
      await until(() => metrics.includes("assistant_audio_playback_started_ms") || metrics.length > 3, "metrics");
      await until(() => ws.transport.session("spoken")?.framesSent === 15 || seen.audio.length > 10, "the sound");
    });
    expect(seen.texts.filter((t) => t.role === "user" && t.final).map((t) => t.text)).toEqual(["a question"]);
    expect(
      seen.texts
        .filter((t) => t.role === "assistant")
        .map((t) => t.text)
        .join(""),
    ).toBe("A short answer.");
    expect(seen.turns.map((t) => [t.turn, t.phase])).toEqual([
      [1, "open"],
      [1, "commit"],
      [1, "close"],
    ]);
    expect(seen.errors).toEqual([]);
  });

  test("F-033 F-040 F-175 forty barge-ins in ten calls at once: nothing of a cut turn is heard after its flush", async () => {
    const cuts = 4;
    const late: number[] = [];
    const one = async (n: number): Promise<void> => {
      const transcripts = Array.from({ length: cuts + 1 }, (_, i) => `question ${i + 1}`);
      const own = { stt: { transcripts }, llm: { text: "words ".repeat(60) }, tts: { ms_per_char: 30 } };
      const seen = await talk(`barge-${n}`, own, async (seen, say) => {
        const cutAt = new Map<number, number>();
        seen.client.on("flush", ({ turn }) => cutAt.set(turn, seen.audio.length));
        say(300);
        for (let turn = 1; turn <= cuts; turn++) {
          await until(() => seen.audio.filter((f) => f.turn === turn).length > n + 1, `turn ${turn} of call ${n}`);
          say(240);
          await until(() => cutAt.has(turn), `the flush of turn ${turn} of call ${n}`);
        }
        await until(() => seen.turns.some((t) => t.turn === cuts + 1 && t.phase === "open"), "the last turn");
        for (const [turn, at] of cutAt) late.push(seen.audio.slice(at).filter((f) => f.turn === turn).length);
      });
      expect(seen.turns.filter((t) => t.phase === "open").length).toBe(cuts + 1);
    };
    await Promise.all(Array.from({ length: 10 }, (_, n) => one(n)));
    expect(late).toEqual(Array.from({ length: 10 * cuts }, () => 0));
    const fence = runtime.metrics.read("cancel_fence_ms");
    console.log(`cancel to fence acknowledged by the client: ${JSON.stringify(fence)}`);
    expect(fence?.count).toBeGreaterThanOrEqual(10 * cuts);
  });

  test("F-091 F-158 a caller cut off for five seconds in the middle of a sentence is heard whole, in the same session", async () => {
    const net = network();
    const sim = { stt: { transcripts: ["a long sentence"] }, llm: { text: "Heard." }, tts: { ms_per_char: 20 } };
    const own = { ...sim, WebSocket: net.WebSocket };
    const seen = await talk("five", own, async (seen, say) => {
      say(7_000);
      await until(() => (ws.transport.session("five")?.caller.frames ?? 0) > 50, "some speech");
      net.away = true;
      seen.client.cut();
      const from = clock.nowNs();
      await until(() => clock.nowNs() - from > 5e9, "five seconds");
      net.away = false;
      await until(() => seen.turns.some((t) => t.phase === "close"), "the turn");
      await until(() => settled(seen, 1), "the sound");
    });
    expect(seen.client.resumes).toBe(1);
    expect(seen.texts.filter((t) => t.role === "user" && t.final).map((t) => t.text)).toEqual(["a long sentence"]);
    expect(seen.turns.map((t) => t.phase)).toEqual(["open", "commit", "close"]);
    const audio = live
      .get("five")
      ?.session.journal()
      .flatMap((entry) => entry.batch.inputs.flatMap((i) => (i.body.type === "audio" ? [i.body.sequence] : [])));
    expect(audio).toEqual(audio?.map((_, i) => i + 1));
    expect(ws.audits.filter((a) => a.session === "five").map((a) => a.kind)).toEqual([
      "opened",
      "waiting",
      "resumed",
      "closed",
    ]);
  });

  test("F-091 F-158 cuts in speech and in the answer: the same session, each final once, each turn answered", async () => {
    const transcripts = ["one", "two", "three"];
    const own = { stt: { transcripts }, llm: { text: "An answer that takes a while." }, tts: { ms_per_char: 20 } };
    const seen = await talk("cuts", own, async (seen, say) => {
      for (let turn = 1; turn <= 3; turn++) {
        say(400);
        if (turn !== 2) seen.client.cut();
        await until(() => seen.turns.some((t) => t.turn === turn && t.phase === "open"), `turn ${turn}`);
        if (turn === 2) {
          await until(() => seen.audio.some((f) => f.turn === 2), "the answer");
          seen.client.cut();
        }
        await until(() => seen.turns.some((t) => t.turn === turn && t.phase === "close"), `the end of turn ${turn}`);
        await until(() => settled(seen, turn), `the sound of turn ${turn}`);
      }
    });
    expect(seen.client.resumes).toBe(3);
    expect(seen.texts.filter((t) => t.role === "user" && t.final).map((t) => t.text)).toEqual(transcripts);
    expect(seen.turns.filter((t) => t.phase === "commit").map((t) => t.turn)).toEqual([1, 2, 3]);
    for (const turn of [1, 2, 3]) {
      const offsets = seen.audio.filter((f) => f.turn === turn).map((f) => f.offsetUs);
      expect(offsets).toEqual([...new Set(offsets)].sort((a, b) => a - b));
    }
    // Who comes back before the old connection is seen to be gone has not been waited for.
    const kinds = ws.audits.filter((a) => a.session === "cuts").map((a) => a.kind);
    expect(kinds.filter((kind) => kind !== "waiting")).toEqual(["opened", "resumed", "resumed", "resumed", "closed"]);
  });
});
