import type { MonoNs } from "@rspp/base/brand";
import fc from "fast-check";
import { expect, test } from "vitest";
import {
  clientAccept,
  clientFreshness,
  clientOffer,
  clientRefuse,
  clientRestore,
  clientSubscribe,
  clientUnchanged,
  createWatchClient,
} from "./snapshot-watch-client.ts";
import { createWatchServer, serverAnswer, serverBehind, serverNewest, serverSettled } from "./snapshot-watch-server.ts";
import { parseSnapshotVersion, type SnapshotAnswer, type SnapshotOffer } from "./snapshot-watch-types.ts";

const at = (ms: number): MonoNs => (ms * 1_000_000) as MonoNs;
const kind = "policy";

function connected(accepted = 0, refused = 0) {
  return createWatchServer("rt-1", "c1", { kinds: [{ kind, accepted, refused }] });
}

test("F-102 one offer is under way at a time, and the newest follows it", () => {
  const server = connected();
  const first = serverNewest(server, kind, 1);
  expect(first).toEqual({ kind, version: 1, nonce: "c1.1" });
  expect(serverNewest(server, kind, 2)).toBeNull();
  expect(serverNewest(server, kind, 3)).toBeNull();
  const step = serverAnswer(server, { type: "accepted", nonce: "c1.1", kind, version: 1 });
  expect(step).toMatchObject({ ok: true, offer: { version: 3, nonce: "c1.2" } });
  expect(serverAnswer(server, { type: "accepted", nonce: "c1.1", kind, version: 1 }).ok).toBe(false);
  expect(serverSettled(server, kind)).toBeNull();
  serverAnswer(server, { type: "accepted", nonce: "c1.2", kind, version: 3 });
  expect(serverSettled(server, kind)).toBe(3);
});

test("F-102 a refused version is not offered again, also after a reconnect; a newer one is", () => {
  const client = createWatchClient([kind]);
  const server = connected();
  const offer = serverNewest(server, kind, 4) as SnapshotOffer;
  expect(clientOffer(client, offer, at(0))).toEqual({ act: "load" });
  const answer = clientRefuse(client, offer, "unknown rule", at(0));
  expect(serverAnswer(server, answer)).toEqual({
    ok: true,
    offer: null,
    refused: { kind, version: "policy@4", reason: "unknown rule" },
  });
  const [again] = clientSubscribe(client).kinds;
  expect(again).toEqual({ kind, accepted: 0, refused: 4 });
  const next = connected(0, 4);
  expect(serverNewest(next, kind, 4)).toBeNull();
  expect(serverSettled(next, kind)).toBe(4);
  expect(serverNewest(next, kind, 5)).toMatchObject({ version: 5 });
});

test("F-159 age counts from the last word of the control plane, and what was kept on disk is as old as it was", () => {
  const client = createWatchClient([kind]);
  expect(clientFreshness(client, kind, at(0)).state).toBe("missing");
  expect(clientRestore(client, { kind, version: 7, ageMs: 20_000 }, at(0))).toBe(true);
  expect(clientRestore(client, { kind, version: 7, ageMs: 0 }, at(0))).toBe(false);
  expect(clientFreshness(client, kind, at(1_000))).toEqual({ state: "stale", version: 7, ageMs: 21_000 });
  clientUnchanged(client, kind, 6, at(2_000));
  expect(clientFreshness(client, kind, at(2_000)).state).toBe("stale");
  clientUnchanged(client, kind, 7, at(3_000));
  expect(clientFreshness(client, kind, at(3_000))).toEqual({ state: "fresh", version: 7, ageMs: 0 });
  expect(clientFreshness(client, kind, at(3_000 + 900_001)).state).toBe("too_stale");
});

test("F-102 behind a version it refused, a watcher's last good one is stale, never too stale while it is told", () => {
  const client = createWatchClient([kind]);
  const one = { kind, version: 1, nonce: "a" } as const;
  const two = { kind, version: 2, nonce: "b" } as const;
  clientOffer(client, one, at(0));
  clientAccept(client, one, at(0));
  clientOffer(client, two, at(1));
  clientRefuse(client, two, "no", at(1));
  clientUnchanged(client, kind, 2, at(5_000_000));
  expect(clientFreshness(client, kind, at(5_000_000))).toMatchObject({ state: "stale", version: 1 });
});

test("a control plane that was set back learns it from its watchers", () => {
  const server = connected(9);
  expect(serverNewest(server, kind, 3)).toBeNull();
  expect(serverBehind(server, kind)).toBe(9);
});

test("versions are read strictly", () => {
  expect(parseSnapshotVersion("policy@12")).toEqual({ kind: "policy", version: 12 });
  for (const bad of ["policy@0", "policy@", "policy@01", "nothing@1", "policy@1x", "policy@99999999999999999"])
    expect(parseSnapshotVersion(bad)).toBeNull();
});

/** Both ends over a line that loses, reorders and breaks; `bad` versions are refused by the watcher. */
class World {
  readonly client = createWatchClient([kind]);
  server = connected();
  newest = 0;
  connections = 0;
  highest = 0;
  readonly bad: ReadonlySet<number>;
  readonly refusedOffers: number[] = [];
  readonly toClient: SnapshotOffer[] = [];
  readonly toServer: SnapshotAnswer[] = [];

  constructor(bad: readonly number[]) {
    this.bad = new Set(bad);
  }

  reconnect(): void {
    this.connections += 1;
    this.toClient.length = 0;
    this.toServer.length = 0;
    this.server = createWatchServer("rt-1", `c${this.connections}`, clientSubscribe(this.client));
    this.#send(serverNewest(this.server, kind, this.newest));
  }

  publish(): void {
    this.newest += 1;
    this.#send(serverNewest(this.server, kind, this.newest));
  }

  #send(offer: SnapshotOffer | null): void {
    if (offer === null) return;
    if (this.refusedOffers.includes(offer.version) && this.client.kinds.policy?.refused === offer.version) {
      const known = this.server.kinds.policy?.refused;
      expect(known, "a version the server knows as refused was offered again").not.toBe(offer.version);
    }
    this.toClient.push(offer);
  }

  deliver(index: number): void {
    const [offer] = this.toClient.splice(index % Math.max(1, this.toClient.length), 1);
    if (offer === undefined) return;
    const step = clientOffer(this.client, offer, at(0));
    if (step.act === "answer") this.toServer.push(step.answer);
    if (step.act !== "load") return;
    if (this.bad.has(offer.version)) {
      this.refusedOffers.push(offer.version);
      this.toServer.push(clientRefuse(this.client, offer, "bad", at(0)));
    } else this.toServer.push(clientAccept(this.client, offer, at(0)));
    const accepted = this.client.kinds.policy?.accepted ?? 0;
    expect(accepted).toBeGreaterThanOrEqual(this.highest);
    expect(this.bad.has(accepted)).toBe(false);
    this.highest = accepted;
  }

  answer(index: number): void {
    const [answer] = this.toServer.splice(index % Math.max(1, this.toServer.length), 1);
    if (answer === undefined) return;
    const step = serverAnswer(this.server, answer);
    if (step.ok) this.#send(step.offer);
  }
}

const moves = fc.array(
  fc.record({
    what: fc.constantFrom("publish", "deliver", "answer", "lose_offer", "lose_answer", "repeat", "reconnect"),
    index: fc.nat(7),
  }),
  { maxLength: 120 },
);

test("F-102 over any loss, order and reconnects a watcher never goes back, converges, and meets no refused version again", () => {
  fc.assert(
    fc.property(moves, fc.array(fc.integer({ min: 1, max: 40 }), { maxLength: 15 }), (steps, bad) => {
      const world = new World(bad);
      world.reconnect();
      for (const { what, index } of steps) {
        if (what === "publish") world.publish();
        else if (what === "deliver") world.deliver(index);
        else if (what === "answer") world.answer(index);
        else if (what === "lose_offer") world.toClient.splice(index, 1);
        else if (what === "lose_answer") world.toServer.splice(index, 1);
        else if (what === "repeat" && world.toClient[0] !== undefined) world.toClient.push(world.toClient[0]);
        else if (what === "reconnect") world.reconnect();
      }
      // The line holds from here on.
      world.reconnect();
      const before = world.refusedOffers.length;
      for (let i = 0; i < 8; i++) {
        world.deliver(0);
        world.answer(0);
      }
      const { accepted = 0, refused = 0 } = world.client.kinds.policy ?? {};
      expect(accepted === world.newest || refused === world.newest).toBe(true);
      expect(world.refusedOffers.length - before).toBeLessThanOrEqual(1);
      expect(new Set(world.refusedOffers).size).toBe(world.refusedOffers.length);
      expect(world.newest === 0 ? null : serverSettled(world.server, kind)).toBe(world.newest || null);
    }),
    { numRuns: 400 },
  );
});
