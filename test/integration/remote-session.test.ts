import { isDeepStrictEqual } from "node:util";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import type { TransportEgress, TransportIngress } from "@rspp/ports/transport";
import fc from "fast-check";
import { afterEach, describe, expect, test } from "vitest";
import { until } from "./link-rig.ts";
import { egressOf, ingressOf } from "./remote-session-messages.ts";
import { audioIn, Caller, mediaOut, type RemoteRig, remoteRig, signalIn } from "./remote-session-rig.ts";

/** The first place at which two sets of lanes differ: whole lists would fill the screen. */
function firstDifference(found: Record<string, unknown[]>, expected: Record<string, unknown[]>): unknown {
  for (const [lane, messages] of Object.entries(expected)) {
    const got = found[lane] ?? [];
    const at = messages.findIndex(
      (message, i) => !isDeepStrictEqual(structuredClone(message), structuredClone(got[i])),
    );
    if (at >= 0) return { lane, at, expected: messages[at], found: got[at] };
    if (got.length > messages.length) return { lane, at: messages.length, found: got[messages.length] };
  }
  return null;
}

let rig: RemoteRig | undefined;
afterEach(async () => {
  await rig?.stop();
  rig = undefined;
});

describe("opening a session over a link", () => {
  test("what the adapter asks for is what the runtime is asked; the epoch is the grant's", async () => {
    rig = await remoteRig({ reconnectMs: 4_000 });
    const { host, end } = await rig.open("s-1");
    const { tenant, session, pipelineVersion, epoch, token, variables, outputFormat, peer } = host.open;
    expect({ tenant, session, pipelineVersion, epoch, token, variables, outputFormat, peer }).toMatchObject({
      tenant: "acme",
      session: "s-1",
      pipelineVersion: "voice-assistant@1",
      epoch: 8,
      token: "token-of-s-1",
      variables: { name: '"Ada"', age: "36" },
      outputFormat: { rateHz: 24_000 },
      peer: { peerId: "adapter-1" },
    });
    expect(end).toMatchObject({
      epoch: 8,
      tenant: "acme",
      sessionId: "s-1",
      pipelineVersion: "voice-assistant@1",
      reconnectMs: 4_000,
    });
    expect(rig.platform.grants[0]).toMatchObject({ holderId: "runtime-1" });
    expect(rig.opener.stats()).toMatchObject({ sessions: 1, opened: 1, links: [{ up: true, sessions: 1 }] });
  });

  test("what the session says before it was opened is heard, and a close right after it, too", async () => {
    rig = await remoteRig();
    const caller = new Caller();
    rig.onOpen = async (open) => {
      open.transport.send({
        kind: "text",
        epoch: open.epoch,
        turn: 1,
        role: "assistant",
        text: "hello",
        final: true,
        segment: 0,
        revision: 0,
      });
      queueMicrotask(() => open.transport.send({ kind: "close", epoch: open.epoch, reason: "completed" }));
      return { ok: true, value: { session: { receive: () => undefined } } };
    };
    const opened = await rig.opener.open(caller.request("s-1"));
    expect(opened.ok).toBe(true);
    await until(() => caller.closed !== null, "the close");
    expect(caller.told.map((m) => m.kind)).toEqual(["text", "close"]);
    expect(caller.closed).toBe("completed");
    expect(rig.sessions.stats().open).toBe(0);
  });

  test("media that overtakes the answer to its opening waits for it", async () => {
    rig = await remoteRig();
    for (let n = 1; n <= 20; n++) {
      const caller = new Caller();
      rig.onOpen = async (open) => {
        for (let i = 1; i <= 40; i++) open.transport.send(mediaOut(open.epoch, 1, 0, i));
        return { ok: true, value: { session: { receive: () => undefined } } };
      };
      const opened = await rig.opener.open(caller.request(`s-${n}`));
      expect(opened.ok).toBe(true);
      await until(() => caller.told.length === 40, "all frames");
    }
    expect(rig.opener.stats()).toMatchObject({ lost: 0, sessions: 20 });
  });

  test("refusals of lease, registry and runtime come as reasons of the opener, and a lease nobody uses is given back", async () => {
    rig = await remoteRig();
    const { platform, opener } = rig;
    const ask = async (session: string, instance = "runtime-1") => {
      const answer = await opener.open(new Caller().request(session, { instance }));
      return answer.ok ? "opened" : answer.error.reason;
    };
    platform.leaseRefusal = ErrorReason.LEASE_HELD;
    expect(await ask("s-1")).toBe("already_exists");
    platform.leaseRefusal = ErrorReason.CAPACITY_EXHAUSTED;
    expect(await ask("s-1")).toBe("capacity_exhausted");
    platform.leaseRefusal = null;
    expect(await ask("s-1", "runtime-9")).toBe("not_found");
    for (const reason of ["draining", "pipeline_invalid", "permission_denied", "recording_unavailable"] as const) {
      rig.onOpen = async () => ({ ok: false, error: { reason, remedy: "Do this." } });
      const answer = await opener.open(new Caller().request("s-1"));
      expect(answer).toEqual({ ok: false, error: { reason, remedy: "Do this." } });
    }
    rig.onOpen = async () => {
      throw new Error("a defect");
    };
    expect(await ask("s-1")).toBe("runtime_internal_error");
    expect(platform.released.length).toBe(5);
    rig.onOpen = null;
    expect(await ask("s-1")).toBe("opened");
    expect(await ask("s-1")).toBe("already_exists");
    expect(rig.sessions.stats()).toMatchObject({ open: 1, opening: 0 });
    expect(opener.stats().sessions).toBe(1);
  });

  test("a grant of another session or epoch is refused, naming the field", async () => {
    rig = await remoteRig();
    const { signGrant } = await import("./remote-session-rig.ts");
    rig.platform.grantOf = (_session, epoch) => signGrant({ session: "other", epoch });
    expect((await rig.opener.open(new Caller().request("s-1"))).ok).toBe(false);
    rig.platform.grantOf = (session, epoch) => signGrant({ tenant: "evil", session, epoch });
    expect((await rig.opener.open(new Caller().request("s-1"))).ok).toBe(false);
    rig.platform.grantOf = (session, epoch) => signGrant({ session, epoch: epoch - 1 });
    const stale = await rig.opener.open(new Caller().request("s-1"));
    expect(stale).toMatchObject({ ok: false, error: { reason: "authority_epoch_mismatch" } });
    expect(rig.refusals.map((line) => line.split(":")[0])).toEqual([
      "PERMISSION_DENIED open.grant.session.session_id",
      "PERMISSION_DENIED open.grant.session.tenant_id",
      "AUTHORITY_EPOCH_MISMATCH open.grant.epoch",
    ]);
    expect(rig.hosted.size).toBe(0);
  });

  test("a runtime that does not answer, and a link that is not up, cost their deadline and no more", async () => {
    rig = await remoteRig({ opener: { deadlines: { openMs: 300, readyMs: 200 } } });
    rig.onOpen = () => new Promise(() => undefined);
    const atMs = performance.now();
    expect(await rig.opener.open(new Caller().request("s-1"))).toMatchObject({
      error: { reason: "dependency_unavailable" },
    });
    expect(performance.now() - atMs).toBeLessThan(2_000);
    rig.platform.address = "127.0.0.1:1";
    rig.platform.maxStalenessMs = 1;
    const caller = new Caller();
    // The view that is known is young: the next look finds the new address.
    await until(() => rig!.opener.stats().view.ageMs > 0, "time");
    const answer = await rig.opener.open(caller.request("s-2"));
    expect(answer).toMatchObject({ ok: false, error: { reason: "dependency_unavailable" } });
    expect(caller.told).toEqual([]);
    expect(rig.opener.stats().sessions).toBe(0);
  });

  test("a runtime of this very process is called without a link, with the same grant", async () => {
    let asked: unknown;
    rig = await remoteRig({
      opener: {
        local: {
          instance: "runtime-here",
          open: async (request, grant) => {
            asked = { session: request.claims.session, grant: grant.keyId };
            const { tenant, session: sessionId, pipelineVersion } = request.claims;
            return {
              ok: true,
              value: { session: { receive: () => undefined }, epoch: 1, tenant, sessionId, pipelineVersion },
            };
          },
        },
      },
    });
    expect((await rig.opener.open(new Caller().request("s-1", { instance: "" }))).ok).toBe(true);
    expect((await rig.opener.open(new Caller().request("s-2", { instance: "runtime-here" }))).ok).toBe(true);
    expect(asked).toEqual({ session: "s-2", grant: "k-1" });
    expect(rig.opener.stats().links).toEqual([]);
    expect(rig.platform.grants.map((g) => g.holderId)).toEqual(["runtime-here", "runtime-here"]);
    expect((await rig.opener.open(new Caller().request("s-3"))).ok).toBe(true);
    expect(rig.opener.stats().links.length).toBe(1);
  });
});

describe("messages of a session", () => {
  test("every message of an adapter comes out at the runtime as it went in", async () => {
    rig = await remoteRig();
    const { host, end } = await rig.open("s-1");
    const { epoch } = end;
    host.heard.length = 0;
    const sent = fc.sample(ingressOf(epoch), { numRuns: 1_500, seed: 7 });
    let [audios, controls] = [0, 0];
    for (const message of sent) {
      // Numbers rise, with holes where frames of the caller were lost.
      if (message.kind === "audio") message.sequence = audios += 1 + (audios % 7 === 0 ? 3 : 0);
      if (message.kind === "control") message.sequence = ++controls;
    }
    for (const [i, message] of sent.entries()) {
      end.session.receive(message);
      if (i % 20 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    await until(() => host.heard.length >= sent.length, `all of ${sent.length} messages`, 10_000);
    const lanes = (messages: readonly TransportIngress[]) => ({
      audio: messages.filter((m) => m.kind === "audio"),
      overtaking: messages.filter((m) => m.kind === "control" && m.controlClass === "overtaking"),
      positioned: messages.filter(
        (m) => m.kind !== "audio" && !(m.kind === "control" && m.controlClass === "overtaking"),
      ),
    });
    expect(rig.opener.stats()).toMatchObject({ lost: 0, duplicates: 0 });
    expect([rig.refusals, rig.opener.stats().unsent]).toEqual([[], {}]);
    expect(firstDifference(lanes(host.heard), lanes(sent))).toBe(null);
    expect(rig.refusals).toEqual([]);
  });

  test("every message of a runtime comes out at the adapter as it went in", async () => {
    rig = await remoteRig();
    const { caller, host, end } = await rig.open("s-1");
    const { epoch } = end;
    const sent = fc.sample(egressOf(epoch), { numRuns: 1_500, seed: 11 });
    const sequences = new Map<number, number>();
    let fences = 0;
    for (const message of sent) {
      // Fences of a turn only rise.
      if (message.kind === "fence") message.generation = fences += 1 + (message.generation % 1_000_000);
      if (message.kind !== "media") continue;
      const next = (sequences.get(message.turn) ?? 0) + 1;
      sequences.set(message.turn, next);
      message.sequence = next;
    }
    for (const [i, message] of sent.entries()) {
      host.send(message);
      if (i % 20 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    host.send({ kind: "close", epoch, reason: "completed" });
    await until(() => caller.closed !== null, "the close", 10_000);
    const lanes = (messages: readonly TransportEgress[]) => ({
      media: messages.filter((m) => m.kind === "media"),
      fences: messages.filter((m) => m.kind === "fence"),
      words: messages.filter((m) => m.kind === "control" || m.kind === "text"),
      close: messages.filter((m) => m.kind === "close"),
    });
    expect(rig.sessions.stats().unsent).toEqual({});
    const all = [...sent, { kind: "close" as const, epoch, reason: "completed" }];
    expect(firstDifference(lanes(caller.told), lanes(all))).toBe(null);
    expect(caller.told.at(-1)?.kind).toBe("close");
    expect(host.gone).toBe("completed");
  });

  test("a frame larger than one event of a link comes out whole, and one larger than may be is counted", async () => {
    rig = await remoteRig();
    const { caller, host, end } = await rig.open("s-1");
    const large = (sequence: number, bytes: number, durationUs: number) => {
      const frame = { ...mediaOut(end.epoch, 1, 0, sequence), durationUs, end: true };
      return { ...frame, bytes: Uint8Array.from({ length: bytes }, (_, i) => (i * 7) % 251) } as TransportEgress;
    };
    const sent = [
      large(1, 300_001, 2_500_001),
      mediaOut(end.epoch, 1, 0, 2),
      large(3, 640, 9_999_999),
      large(4, 65_536, 20_000),
    ];
    for (const message of sent) host.send(message);
    host.send(large(5, 3_000_000, 20_000));
    host.send({ kind: "close", epoch: end.epoch, reason: "completed" });
    await until(() => caller.closed !== null, "the close");
    expect(firstDifference({ media: caller.told.slice(0, -1) }, { media: sent })).toBe(null);
    expect(rig.sessions.stats().unsent).toEqual({ media: 1 });
  });

  test("a long reply is not cut by the close behind it: what waits for credit is said first", async () => {
    rig = await remoteRig();
    const { caller, host, end } = await rig.open("s-1");
    for (let n = 1; n <= 900; n++) host.send(mediaOut(end.epoch, 1, 0, n));
    host.send({ kind: "close", epoch: end.epoch, reason: "completed" });
    await until(() => caller.closed !== null, "the close");
    expect(caller.told.filter((m) => m.kind === "media").length).toBe(900);
  });

  test("metrics, debug events and errors reach those who observe, and nobody else", async () => {
    rig = await remoteRig();
    const { host, end } = await rig.open("s-1");
    expect(host.tell).toBe(null);
    const notes: unknown[] = [];
    const errors: unknown[] = [];
    const stop = end.observe?.(["metrics", "debug"], (note) => notes.push(note));
    const stopErrors = end.observe?.(["error"], (note) => errors.push(note));
    await until(() => host.kinds.length === 3, "the subscription");
    host.tell?.({ kind: "metrics", name: "edge_depth_items", value: 3.5, turn: 2, node: "stt" });
    host.tell?.({ kind: "debug", text: "a step", fields: { inputs: "4" } });
    host.tell?.({ kind: "error", code: "input_queue_overflow", detail: "speak slower" });
    await until(() => notes.length + errors.length === 3, "all three");
    expect(notes).toEqual([
      { kind: "metrics", name: "edge_depth_items", value: 3.5, turn: 2, node: "stt" },
      { kind: "debug", text: "a step", fields: { inputs: "4" } },
    ]);
    expect(errors).toEqual([{ kind: "error", code: "input_queue_overflow", detail: "speak slower" }]);
    stop?.();
    await until(() => host.kinds.length === 1, "the smaller subscription");
    stopErrors?.();
    await until(() => host.tell === null, "the end of it");
  });

  test("a client's fields under any name ask for nothing: they are handed on as they are", async () => {
    rig = await remoteRig();
    const { host, end } = await rig.open("s-1");
    end.session.receive(signalIn(end.epoch, 1, "transport_signal", { fields: { "link.observe": "debug" } }));
    end.session.receive(signalIn(end.epoch, 2, "mute", { lastMediaSequence: 0 }));
    await until(() => host.heard.length === 2, "both signals");
    expect(host.heard[0]).toMatchObject({ signal: "transport_signal", fields: { "link.observe": "debug" } });
    expect(host.tell).toBe(null);
    expect(rig.opener.stats().unsent).toEqual({});
  });

  test("what was played of output with session scope is reported: deliveries and fences of turn 0", async () => {
    rig = await remoteRig();
    const { caller, host, end } = await rig.open("s-1");
    const { epoch } = end;
    const of = { epoch, turn: 0, generation: 1 } as const;
    host.send({ kind: "fence", epoch, turn: 0, generation: 1, all: false, reason: "user_cancel" });
    await until(() => caller.told.length === 1, "the fence");
    const played: TransportIngress[] = [
      { kind: "delivery", ...of, state: "cancelled", playedUs: 120_000 },
      { kind: "fence_ack", ...of, playedUs: 120_000, flushed: 7 },
    ];
    for (const message of played) end.session.receive(message);
    await until(() => host.heard.length === 2, "both");
    expect(host.heard).toEqual(played);
    expect(rig.opener.stats().unsent).toEqual({});
  });

  test("P4 an utterance's end that comes behind its audio in order is never forced, and waits for no timer", async () => {
    rig = await remoteRig();
    const { host, end } = await rig.open("s-1");
    const tookMs: number[] = [];
    let frame = 0;
    for (let utterance = 1; utterance <= 20; utterance++) {
      for (let n = 0; n < 5; n++) end.session.receive(audioIn(end.epoch, ++frame));
      const atMs = performance.now();
      const ended = { lastMediaSequence: frame };
      end.session.receive(signalIn(end.epoch, utterance, "end_of_utterance", ended));
      await until(() => host.heard.length === frame + utterance, `end of utterance ${utterance}`);
      tookMs.push(performance.now() - atMs);
      expect(host.heard.at(-1)).toMatchObject({ signal: "end_of_utterance" });
    }
    expect(rig.sessions.stats().forced).toBe(0);
    // Half of them within half of what a wait for missing media would take, on a busy machine too.
    expect(tookMs.sort((a, b) => a - b)[10]).toBeLessThan(20);
  });

  test("F-159 an adapter that may dials the runtimes it sees before a call needs one", async () => {
    rig = await remoteRig({ opener: { link: { warm: true } } });
    await until(() => rig?.opener.stats().links[0]?.up === true, "the link");
    expect(rig.opener.stats()).toMatchObject({ opened: 0, links: [{ sessions: 0 }] });
    await rig.open("s-1");
    expect(rig.opener.stats().links).toHaveLength(1);
  });

  test("messages of an older epoch are not said; the bytes of a frame are the sender's again at once", async () => {
    rig = await remoteRig();
    const { caller, host, end } = await rig.open("s-1");
    host.send(mediaOut(end.epoch - 1, 1, 0, 1));
    const frame = mediaOut(end.epoch, 1, 0, 2);
    host.send(frame);
    if (frame.kind === "media") frame.bytes.fill(255);
    const spoken = audioIn(end.epoch, 1, 5);
    end.session.receive(spoken);
    if (spoken.kind === "audio") spoken.bytes.fill(255);
    await until(() => caller.told.length === 1 && host.heard.length === 1, "one frame each way");
    expect(caller.told[0]).toEqual(mediaOut(end.epoch, 1, 0, 2));
    expect(host.heard[0]).toEqual(audioIn(end.epoch, 1, 5));
    expect(rig.sessions.stats().unsent).toEqual({ stale_epoch: 1 });
  });
});
