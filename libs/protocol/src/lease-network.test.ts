import type { MonoNs } from "@rspp/base/brand";
import { asMonoNs, msToNs } from "@rspp/base/brand";
import { createStream, nextU32 } from "@rspp/base/random";
import fc from "fast-check";
import { expect, test } from "vitest";
import {
  createGrantor,
  grantLease,
  renewLease,
  reopenGrantor,
  revokeLease,
  rotateLease,
  syncReceiver,
  transferLease,
} from "./lease-grantor.ts";
import { createHolder, holderMayAct, holderStep } from "./lease-holder.ts";
import { createReceiver, receiverAccept, receiverFloor, receiverSync } from "./lease-receiver.ts";
import type { Grant, GrantorState, HolderState, ReceiverState, SignedGrant } from "./lease-types.ts";

// Two holders, a grantor and two receivers under random interleavings: messages are delayed, lost, repeated; holders
// pause; receivers restart; the grantor's store is restored from a backup. The checker sits at the receivers.

const holders = ["r1", "r2"] as const;
const receivers = ["adapter", "gateway"] as const;
type HolderName = (typeof holders)[number];
type ReceiverName = (typeof receivers)[number];

const sign = (grant: Grant): string => `sig:${grant.epoch}:${grant.holder}`;
const verify = (signed: SignedGrant): boolean => signed.signature === sign(signed.grant);

type Act =
  | { op: "acquire" | "transfer" | "rotate" | "pause" | "emit"; holder: HolderName; receiver: ReceiverName }
  | { op: "revoke" | "restore" | "backup" }
  | { op: "restart"; receiver: ReceiverName }
  | { op: "run"; ms: number };

interface Message {
  atNs: number;
  run: () => void;
}

class World {
  nowNs: MonoNs = asMonoNs(0);
  grantor: GrantorState = createGrantor(1);
  backup: GrantorState = createGrantor(1);
  incarnation = 1;
  readonly holder: Record<HolderName, HolderState> = { r1: createHolder("r1", "s"), r2: createHolder("r2", "s") };
  readonly paused: Record<HolderName, boolean> = { r1: false, r2: false };
  readonly receiver: Record<ReceiverName, ReceiverState> = {
    adapter: createReceiver("adapter", 0),
    gateway: createReceiver("gateway", 0),
  };
  readonly acked: Record<ReceiverName, number> = { adapter: 0, gateway: 0 };
  readonly owner = new Map<number, string | null>();
  accepted = 0;
  messages: Message[] = [];
  readonly random;

  constructor(seed: string) {
    this.random = createStream(seed, 0, "lease-net");
    for (const name of receivers) this.sync(name);
  }

  below(n: number): number {
    return nextU32(this.random) % n;
  }

  /** Loss 20 %, repetition 20 %, delay up to 3 s: nothing may rest on the network. */
  send(run: () => void): void {
    const copies = this.below(100) < 20 ? 0 : this.below(100) < 20 ? 2 : 1;
    for (let n = 0; n < copies; n++) this.messages.push({ atNs: this.nowNs + msToNs(this.below(3_000)), run });
  }

  toHolder(name: HolderName, input: Parameters<typeof holderStep>[1]): void {
    if (this.paused[name]) {
      this.messages.push({ atNs: this.nowNs + msToNs(500), run: () => this.toHolder(name, input) });
      return;
    }
    for (const out of holderStep(this.holder[name], input, this.nowNs)) {
      if (out.kind === "announce") this.send(() => this.announce(name, out.receiver as ReceiverName, out.signed));
      else if (out.kind === "renew") this.renew(name, out.epoch);
      else if (out.kind === "reacquire") this.apply({ op: "acquire", holder: name, receiver: "adapter" });
    }
  }

  renew(name: HolderName, epoch: number): void {
    const requestedAtNs = this.nowNs;
    this.send(() => {
      const answer = renewLease(this.grantor, { session: "s", holder: name, epoch }, this.nowNs);
      if (answer.ok && answer.value.epoch > epoch) {
        const { signed } = answer.value;
        this.send(() => this.toHolder(name, { kind: "granted", signed, requestedAtNs, oldRunsOutInMs: 0 }));
      } else if (answer.ok) {
        const { termMs } = answer.value;
        this.send(() => this.toHolder(name, { kind: "renewed", epoch, termMs, requestedAtNs }));
      } else this.send(() => this.toHolder(name, { kind: "renew_refused", epoch, reason: answer.error }));
    });
  }

  announce(from: HolderName, to: ReceiverName, signed: SignedGrant): void {
    const answer = receiverFloor(this.receiver[to], signed, verify);
    if (answer.ok) {
      this.acked[to] = Math.max(this.acked[to], answer.epoch);
      this.send(() => this.toHolder(from, { kind: "floor_acked", receiver: to, epoch: answer.epoch }));
    } else if (answer.reason === "stale_epoch") {
      this.send(() => this.toHolder(from, { kind: "stale", receiver: to, floor: answer.floor }));
    }
  }

  granted(name: HolderName, answer: ReturnType<typeof grantLease>, requestedAtNs: MonoNs): void {
    if (!answer.ok) return;
    const { epoch, holder } = answer.value.signed.grant;
    const known = this.owner.get(epoch);
    expect(known === undefined || known === holder, "an epoch has one holder, ever").toBe(true);
    this.owner.set(epoch, holder);
    this.send(() => this.toHolder(name, { kind: "granted", ...answer.value, requestedAtNs }));
  }

  emit(name: HolderName, to: ReceiverName): void {
    if (this.paused[name]) return;
    const may = holderMayAct(this.holder[name], to, this.nowNs);
    if (!may.ok) return;
    const signed = may.attachGrant ? this.holder[name].signed : null;
    this.send(() => this.arrive(name, to, may.epoch, signed));
  }

  arrive(name: HolderName, to: ReceiverName, epoch: number, signed: SignedGrant | null): void {
    const state = this.receiver[to];
    const answer = receiverAccept(state, { session: "s", epoch, sequence: 1, signed }, verify);
    if (answer.ok) {
      this.accepted++;
      expect(epoch, "no epoch below one it acknowledged").toBeGreaterThanOrEqual(this.acked[to]);
      expect(this.owner.get(epoch)).toBe(name);
      this.acked[to] = Math.max(this.acked[to], epoch);
      this.oneHolderOnly(to);
    } else if (answer.reason === "stale_epoch") {
      this.send(() => this.toHolder(name, { kind: "stale", receiver: to, floor: answer.floor }));
    }
  }

  /** At this instant no epoch of the other holder would be accepted as well, with whatever grant it may show. */
  oneHolderOnly(to: ReceiverName): void {
    const able = new Set<string>();
    for (const [epoch, owner] of this.owner) {
      const copy = JSON.parse(JSON.stringify(this.receiver[to])) as ReceiverState;
      if (receiverAccept(copy, { session: "s", epoch, sequence: 1, signed: null }, verify).ok) able.add(String(owner));
    }
    expect(able.size).toBe(1);
  }

  sync(name: ReceiverName): void {
    const nonce = this.receiver[name].syncNonce;
    this.messages.push({
      atNs: this.nowNs + msToNs(this.below(9_000)),
      run: () => {
        const answer = syncReceiver(this.grantor, name, nonce);
        this.messages.push({
          atNs: this.nowNs + msToNs(this.below(9_000)),
          run: () => {
            receiverSync(this.receiver[name], answer, verify);
          },
        });
      },
    });
  }

  apply(act: Act): void {
    const requestedAtNs = this.nowNs;
    switch (act.op) {
      case "acquire":
        this.granted(
          act.holder,
          grantLease(this.grantor, { session: "s", holder: act.holder, receivers }, sign, this.nowNs),
          requestedAtNs,
        );
        return;
      case "transfer":
        this.granted(
          act.holder,
          transferLease(this.grantor, { session: "s", toHolder: act.holder, receivers }, sign, this.nowNs),
          requestedAtNs,
        );
        return;
      case "rotate": {
        const ask = { session: "s", holder: act.holder, epoch: this.holder[act.holder].epoch, lastSequence: 3 };
        this.granted(act.holder, rotateLease(this.grantor, ask, sign, this.nowNs), requestedAtNs);
        return;
      }
      case "pause":
        this.paused[act.holder] = !this.paused[act.holder];
        return;
      case "emit":
        this.emit(act.holder, act.receiver);
        return;
      case "revoke": {
        const answer = revokeLease(this.grantor, "s", sign, this.nowNs);
        if (answer.ok) this.owner.set(answer.value.signed.grant.epoch, null);
        return;
      }
      case "backup":
        this.backup = JSON.parse(JSON.stringify(this.grantor)) as GrantorState;
        return;
      case "restore":
        this.grantor = JSON.parse(JSON.stringify(this.backup)) as GrantorState;
        reopenGrantor(this.grantor, ++this.incarnation, this.nowNs);
        return;
      case "restart": {
        const before = this.receiver[act.receiver];
        this.receiver[act.receiver] = createReceiver(act.receiver, before.syncNonce + 1);
        this.sync(act.receiver);
        for (const name of holders)
          this.send(() => this.toHolder(name, { kind: "receiver_restarted", receiver: act.receiver }));
        return;
      }
      case "run":
        this.run(act.ms);
        return;
    }
  }

  run(ms: number): void {
    const endNs = this.nowNs + msToNs(ms);
    while (this.nowNs < endNs) {
      this.nowNs = asMonoNs(Math.min(endNs, this.nowNs + msToNs(250)));
      const due = this.messages.filter((m) => m.atNs <= this.nowNs).sort((a, b) => a.atNs - b.atNs);
      this.messages = this.messages.filter((m) => m.atNs > this.nowNs);
      for (const message of due) message.run();
      for (const name of holders) {
        if (!this.paused[name]) this.toHolder(name, { kind: "tick" });
        for (const to of receivers) this.emit(name, to);
      }
    }
  }
}

const holder = fc.constantFrom(...holders);
const receiver = fc.constantFrom(...receivers);
const op = fc.constantFrom(
  "acquire" as const,
  "transfer" as const,
  "rotate" as const,
  "pause" as const,
  "emit" as const,
);
const mainActs: fc.WeightedArbitrary<Act>[] = [
  { weight: 8, arbitrary: fc.record({ op, holder, receiver }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant("revoke" as const) }) },
  { weight: 6, arbitrary: fc.record({ op: fc.constant("run" as const), ms: fc.integer({ min: 100, max: 20_000 }) }) },
];
const restart: fc.WeightedArbitrary<Act> = {
  weight: 1,
  arbitrary: fc.record({ op: fc.constant("restart" as const), receiver }),
};
const restore: fc.WeightedArbitrary<Act> = {
  weight: 1,
  arbitrary: fc.record({ op: fc.constantFrom("backup" as const, "restore" as const) }),
};

function play(seed: string, acts: readonly Act[]): World {
  const world = new World(seed);
  for (const act of acts) world.apply(act);
  return world;
}

const seed = fc.string({ minLength: 3, maxLength: 3 });

test("NF-027 pauses, lost acknowledgements, restarted receivers: no receiver accepts an epoch below one it acknowledged, nor two holders", () => {
  fc.assert(
    fc.property(seed, fc.array(fc.oneof(...mainActs, restart), { minLength: 5, maxLength: 40 }), (s, acts) => {
      play(s, acts);
    }),
    { numRuns: 120 },
  );
});

test("NF-027 the same with a store restored from a backup as well", () => {
  fc.assert(
    fc.property(seed, fc.array(fc.oneof(...mainActs, restart, restore), { minLength: 5, maxLength: 40 }), (s, acts) => {
      play(s, acts);
    }),
    { numRuns: 120 },
  );
});

/** The orders of events that hurt most, with random time between and random acts after. */
const ms = fc.integer({ min: 200, max: 12_000 });
const hard: fc.Arbitrary<Act[]> = fc
  .record({
    gaps: fc.array(ms, { minLength: 8, maxLength: 8 }),
    restores: fc.boolean(),
    receiver,
    more: fc.array(fc.oneof(...mainActs, restart), { maxLength: 12 }),
  })
  .map(({ gaps, restores, receiver: at, more }) => {
    const first: Act = { op: "acquire", holder: "r1", receiver: at };
    const next: Act = { op: "transfer", holder: "r2", receiver: at };
    const pause: Act = { op: "pause", holder: "r1", receiver: at };
    const again: Act = { op: "restart", receiver: at };
    const acts: Act[] = restores
      ? [first, { op: "backup" }, pause, next, { op: "restore" }, again, pause]
      : [first, pause, again, next, again, pause];
    return [...acts.flatMap((act, n): Act[] => [act, { op: "run", ms: gaps[n] ?? 200 }]), ...more];
  });

test("NF-027 a holder that slept through its succession finds no way back through restarts and restores", () => {
  fc.assert(
    fc.property(seed, hard, (s, acts) => {
      play(s, acts);
    }),
    { numRuns: 200 },
  );
});

test("after the storm the holder of the current lease is accepted at every receiver", () => {
  fc.assert(
    fc.property(seed, fc.array(fc.oneof(...mainActs, restart, restore), { minLength: 5, maxLength: 25 }), (s, acts) => {
      const world = play(s, acts);
      world.paused.r1 = false;
      world.paused.r2 = false;
      for (let n = 0; n < 6; n++) {
        const { grantor } = world;
        const op = grantor.leases.s === undefined ? "acquire" : "transfer";
        if (world.holder.r2.epoch !== grantor.leases.s?.signed.grant.epoch || n === 0)
          world.apply({ op, holder: "r2", receiver: "adapter" });
        world.run(20_000);
      }
      const { epoch } = world.holder.r2;
      for (const name of receivers) {
        const event = { session: "s", epoch, sequence: 9, signed: null };
        expect(receiverAccept(world.receiver[name], event, verify)).toMatchObject({ ok: true });
      }
    }),
    { numRuns: 60 },
  );
});
