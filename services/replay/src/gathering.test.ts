import { silentLog } from "@rspp/rpc/log";
import { StoreError } from "@rspp/store/store-error";
import { describe, expect, test } from "vitest";
import { appendStream } from "./append-stream.ts";
import { limits } from "./limits.ts";
import { OrphanSweep } from "./orphan-sweep.ts";
import { readSegments } from "./read-timeline.ts";
import { AppendCall, appendOf, chainOf, memoryStores, open } from "./testing/records.ts";
import { TimelineKeeper } from "./timeline-keeper.ts";

/** A keeper whose time stands still until it is told, and whose objects wait to be let through. */
function held(stores = memoryStores()) {
  let nowMs = 10_000_000_000;
  const timers: { atMs: number; fire: () => void }[] = [];
  const puts: (() => void)[] = [];
  const put = stores.objects.put;
  const objects = {
    ...stores.objects,
    put: async (...of: Parameters<typeof put>) => {
      await new Promise<void>((resolve) => puts.push(resolve));
      return put(...of);
    },
  };
  const options = {
    ...stores,
    objects,
    log: silentLog,
    after: (ms: number, fire: () => void) => void timers.push({ atMs: nowMs + ms, fire }),
    wallMs: () => nowMs,
  };
  const keeper = new TimelineKeeper(options);
  const settle = async (): Promise<void> => {
    for (let turn = 0; turn < 30; turn++) await new Promise((resolve) => setImmediate(resolve));
  };
  return {
    stores,
    puts,
    sweep: new OrphanSweep(options),
    call: () => new AppendCall((requests) => appendStream(keeper, requests, new AbortController().signal)).push(open),
    settle,
    pass: async (ms: number): Promise<void> => {
      nowMs += ms;
      for (const due of timers.filter(({ atMs }) => atMs <= nowMs)) {
        timers.splice(timers.indexOf(due), 1);
        due.fire();
      }
      await settle();
    },
    through: async (): Promise<void> => {
      for (const resolve of puts.splice(0)) resolve();
      await settle();
    },
  };
}

const many = (count: number, init: Parameters<typeof chainOf>[1] = {}) =>
  Array.from({ length: count }, (_, i) => chainOf(5, { ...init, session: `s${i}` }));

describe("objects", () => {
  test("what comes of a tenant's sessions within a moment is one object; another tenant's is another", async () => {
    const at = held();
    const call = at.call();
    for (const chain of [...many(40), ...many(3, { tenant: "u" })]) call.push(appendOf(chain));
    await at.settle();
    await at.pass(limits.GATHER_MS - 1);
    expect(at.puts.length).toBe(0);
    await at.pass(1);
    expect(at.puts.length).toBe(2);
    await at.through();
    expect(at.stores.kept.size).toBe(2);
    expect(at.stores.rows.length).toBe(43);
    for (const [i, chain] of many(40).entries()) {
      const read = [];
      const session = { tenantId: "t", sessionId: `s${i}` };
      for await (const { records, problem } of readSegments(at.stores, session)) read.push(...records, problem);
      expect(read).toEqual([...chain, null]);
    }
  });

  test("what comes while one is written goes into the next, which begins when that is done", async () => {
    const at = held();
    const call = at.call();
    const chains = many(20);
    for (const chain of chains) call.push(appendOf(chain.slice(0, 2)));
    await at.settle();
    await at.pass(limits.GATHER_MS);
    for (const chain of chains) call.push(appendOf(chain.slice(2)));
    await at.settle();
    await at.pass(5 * limits.GATHER_MS);
    expect(at.puts.length).toBe(1);
    await at.through();
    expect(at.puts.length).toBe(1);
    await at.through();
    expect(at.stores.kept.size).toBe(2);
    expect(at.stores.rows.length).toBe(40);
  });

  test("a session's end goes at once, but not one object for each of many", async () => {
    const at = held();
    const call = at.call();
    const ended = many(10, { ended: true });
    call.push(appendOf(ended[0] ?? []));
    await at.settle();
    expect(at.puts.length).toBe(1);
    for (const chain of ended.slice(1)) call.push(appendOf(chain));
    await at.through();
    expect(at.puts.length).toBe(0);
    await at.pass(limits.GATHER_LEAST_MS);
    expect(at.puts.length).toBe(1);
    await at.through();
    expect(at.stores.kept.size).toBe(2);
    expect(at.stores.rows.length).toBe(10);
  });

  test("what the index cannot hold of one session keeps no other's from being stored", async () => {
    const stores = memoryStores();
    const add = stores.index.add;
    const refusing = async (added: Parameters<typeof add>[0]) => {
      if (added.some(({ segment }) => segment.session.sessionId === "s1"))
        throw new StoreError("invalid", "The database refuses the values", "Check them");
      return add(added);
    };
    const at = held({ ...stores, index: { ...stores.index, add: refusing } });
    const calls = many(3).map((chain) => at.call().push(appendOf(chain)).end().rest().catch(String));
    await at.settle();
    await at.pass(limits.GATHER_MS);
    await at.through();
    const told = await Promise.all(calls);
    expect(told.map((one) => typeof one)).toEqual(["object", "string", "object"]);
    expect(stores.rows.length).toBe(2);
  });
});

describe("objects of no timeline", () => {
  test("are removed once they are old, and no others are", async () => {
    let failing = false;
    const stores = memoryStores(() => "no");
    const add = stores.index.add;
    const at = held({
      ...stores,
      index: {
        ...stores.index,
        add: (added) =>
          failing ? Promise.reject(new StoreError("unavailable", "The database is away", "Try again")) : add(added),
      },
    });
    const [chain = []] = many(1);
    const store = async (from: number, to: number): Promise<void> => {
      const answers = at
        .call()
        .push(appendOf(chain.slice(from, to)))
        .end()
        .rest()
        .catch(String);
      await at.settle();
      await at.pass(limits.GATHER_MS);
      await at.through();
      await answers;
    };
    await store(0, 2);
    failing = true;
    await store(2, 4);
    failing = false;
    await store(2, 5);
    expect([stores.kept.size, stores.rows.length]).toEqual([3, 2]);
    await at.sweep.step();
    expect(stores.kept.size).toBe(3);
    await at.pass(2 * limits.ORPHAN_AGE_MS);
    await at.sweep.step();
    expect([...stores.kept.keys()].sort()).toEqual(stores.rows.map(({ objectKey }) => objectKey).sort());
    // What another program put there is not touched.
    stores.kept.set("timelines/by-hand", new Uint8Array(1));
    for (let step = 0; step < 5; step++) await at.sweep.step();
    expect(stores.kept.size).toBe(3);
  });

  test("a writer that comes after its object was given up is refused, and the records are sent and stored anew", async () => {
    const stores = memoryStores();
    const add = stores.index.add;
    let release: () => void = () => undefined;
    const late = new Promise<void>((resolve) => (release = resolve));
    let slow = true;
    const at = held({
      ...stores,
      index: { ...stores.index, add: async (added) => (slow ? late.then(() => add(added)) : add(added)) },
    });
    const [chain = []] = many(1);
    const first = at.call().push(appendOf(chain)).end().rest().catch(String);
    await at.settle();
    await at.pass(limits.GATHER_MS);
    await at.through();
    // Its process was stopped for hours between the object and its row.
    await at.pass(2 * limits.ORPHAN_AGE_MS);
    await at.sweep.step();
    expect(stores.kept.size).toBe(0);
    release();
    expect(await first).toMatch(/conflict|changed|again/i);
    expect(stores.rows).toEqual([]);
    slow = false;
    const again = at.call().push(appendOf(chain)).end().rest();
    await at.settle();
    await at.pass(limits.GATHER_MS);
    await at.through();
    await again;
    expect(stores.rows.map(({ lastSequence }) => lastSequence)).toEqual([5]);
    expect(stores.kept.size).toBe(1);
  });
});
