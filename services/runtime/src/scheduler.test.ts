import fc from "fast-check";
import { expect, test } from "vitest";
import { createScheduler, type Scheduler } from "./scheduler.ts";

/** A loop that the test turns by hand. */
function loop() {
  const turns: (() => void)[] = [];
  return {
    defer: (turn: () => void) => void turns.push(turn),
    turn(): boolean {
      const next = turns.shift();
      next?.();
      return next !== undefined;
    },
  };
}

function addSession(
  scheduler: Scheduler,
  tenant: string,
  costs: number[],
  onRun: (cost: number, index: number) => void,
) {
  let done = 0;
  const task = scheduler.add(tenant, {
    run() {
      const cost = costs[done] ?? 1;
      onRun(cost, done);
      done += 1;
      return cost;
    },
    more: () => done < costs.length,
  });
  task.ready();
  return { task, left: () => costs.length - done };
}

test("F-174 no starvation: while two tenants have work, neither gets ahead by more than a round and one piece", () => {
  const costs = fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 1, maxLength: 60 });
  const tenants = fc.array(fc.array(costs, { minLength: 1, maxLength: 4 }), { minLength: 2, maxLength: 5 });
  fc.assert(
    fc.property(tenants, fc.integer({ min: 1, max: 64 }), (plan, quantum) => {
      const events = loop();
      const scheduler = createScheduler({ defer: events.defer, quantum, turnUnitsMax: 256 });
      const served = plan.map(() => 0);
      const order = new Map<string, number>();
      const sessions = plan.flatMap((list, tenant) =>
        list.map((own, session) => ({
          tenant,
          ...addSession(scheduler, `t${tenant}`, own, (cost, index) => {
            expect(index).toBe((order.get(`${tenant}/${session}`) ?? -1) + 1);
            order.set(`${tenant}/${session}`, index);
            served[tenant] = (served[tenant] ?? 0) + cost;
          }),
        })),
      );
      const busy = (tenant: number): boolean => sessions.some((s) => s.tenant === tenant && s.left() > 0);
      for (let turns = 0; events.turn(); turns++) {
        expect(turns).toBeLessThan(50_000);
        const active = served.filter((_, tenant) => busy(tenant));
        // 300 is the dearest piece; each side may be one such piece and one round off.
        if (active.length > 1)
          expect(Math.max(...active) - Math.min(...active)).toBeLessThanOrEqual(2 * (300 + quantum));
      }
      expect(sessions.every((s) => s.left() === 0)).toBe(true);
      expect(scheduler.waiting()).toBe(0);
    }),
    { numRuns: 60 },
  );
});

test("one turn of the loop does a bounded amount, and the virtual clock is held until all is done", () => {
  const events = loop();
  let held = 0;
  const hold = () => {
    held += 1;
    return () => {
      held -= 1;
    };
  };
  const scheduler = createScheduler({ defer: events.defer, hold, quantum: 4, turnUnitsMax: 10 });
  let runs = 0;
  const flood = addSession(scheduler, "a", new Array(100).fill(1), () => {
    runs += 1;
  });
  expect(held).toBe(1);
  events.turn();
  expect(runs).toBe(10);
  expect(held).toBe(1);
  while (events.turn());
  expect([runs, held, flood.left()]).toEqual([100, 0, 0]);
});

test("a removed session runs no more, and a session that is made ready inside its own run goes on", () => {
  const events = loop();
  const scheduler = createScheduler({ defer: events.defer });
  let left = 3;
  const task = scheduler.add("a", {
    run() {
      left -= 1;
      task.ready();
      return 1;
    },
    more: () => left > 0,
  });
  const gone = addSession(scheduler, "b", [1, 1], () => expect.unreachable());
  task.ready();
  gone.task.remove();
  while (events.turn());
  expect(left).toBe(0);
  expect(gone.left()).toBe(2);
  expect(scheduler.waiting()).toBe(0);
});

/** Deficit round robin written out: tenants in turn, in each its sessions in turn, each with a quantum it may overdraw once. */
function naive(plan: number[][][], quantum: number): string[] {
  const order: string[] = [];
  const tenants = plan.map((list, t) => ({
    deficit: 0,
    sessions: list.map((costs, s) => ({ name: `${t}/${s}`, costs: [...costs], deficit: 0 })),
  }));
  const round = tenants.filter(({ sessions }) => sessions.length > 0);
  for (let tenant = round.shift(); tenant !== undefined; tenant = round.shift()) {
    tenant.deficit += quantum;
    while (tenant.deficit > 0) {
      const session = tenant.sessions.shift();
      if (session === undefined) break;
      session.deficit += quantum;
      while (session.deficit > 0 && session.costs.length > 0) {
        const cost = session.costs.shift() ?? 0;
        order.push(session.name);
        session.deficit -= cost;
        tenant.deficit -= cost;
      }
      if (session.costs.length > 0) tenant.sessions.push(session);
    }
    if (tenant.sessions.length > 0) round.push(tenant);
  }
  return order;
}

test("F-174 the order over tenants and their sessions is that of the naive model", () => {
  const costs = fc.array(fc.integer({ min: 1, max: 100 }), { minLength: 1, maxLength: 20 });
  const tenants = fc.array(fc.array(costs, { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(tenants, fc.integer({ min: 1, max: 64 }), (plan, quantum) => {
      const events = loop();
      const scheduler = createScheduler({ defer: events.defer, quantum, turnUnitsMax: Number.MAX_SAFE_INTEGER });
      const order: string[] = [];
      plan.forEach((list, t) => {
        list.forEach((own, s) => void addSession(scheduler, `t${t}`, own, () => order.push(`${t}/${s}`)));
      });
      while (events.turn());
      expect(order).toEqual(naive(plan, quantum));
    }),
    { numRuns: 100 },
  );
});

test("F-174 within a tenant no session gets ahead of another that has work by more than a round and one piece", () => {
  const costs = fc.array(fc.integer({ min: 1, max: 100 }), { minLength: 1, maxLength: 60 });
  fc.assert(
    fc.property(fc.array(costs, { minLength: 2, maxLength: 6 }), fc.integer({ min: 1, max: 64 }), (plan, quantum) => {
      const events = loop();
      const scheduler = createScheduler({ defer: events.defer, quantum, turnUnitsMax: 64 });
      const served = plan.map(() => 0);
      const sessions = plan.map((own, s) =>
        addSession(scheduler, "t", own, (cost) => {
          served[s] = (served[s] ?? 0) + cost;
        }),
      );
      while (events.turn()) {
        const busy = served.filter((_, s) => (sessions[s]?.left() ?? 0) > 0);
        if (busy.length > 1) expect(Math.max(...busy) - Math.min(...busy)).toBeLessThanOrEqual(2 * (100 + quantum));
      }
    }),
    { numRuns: 60 },
  );
});
