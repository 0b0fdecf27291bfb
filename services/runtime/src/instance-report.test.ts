import type { InstanceStatus } from "@rspp/gen/rspp/registry/v1/registry_pb";
import { InstanceService } from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import { SessionState } from "@rspp/gen/rspp/runtime/v1/session_pb";
import { createSystemClock } from "@rspp/host/system-clock";
import { route } from "@rspp/rpc/route";
import { expect, onTestFinished, test } from "vitest";
import { startInstanceReport } from "./instance-report.ts";
import { silentLogger } from "./logger.ts";
import { createSessionBook } from "./session-service-book.ts";
import { bench } from "./testing/bench.ts";
import { away, peerOf } from "./testing/peers.ts";

async function rig() {
  const reports: { status: InstanceStatus | undefined; sessions: string[] }[] = [];
  const registry = { away: false, drain: false, cutAfter: Number.POSITIVE_INFINITY };
  const { connection } = await peerOf("registry", [
    route(InstanceService, {
      reportInstance: async function* (asked) {
        if (registry.away) throw away("registry");
        for await (const { status, sessions } of asked) {
          const names = Object.entries(SessionState);
          const state = (n: number | undefined) => names.find(([, value]) => value === n)?.[0];
          reports.push({
            status,
            sessions: sessions.map(({ info }) => `${info?.session?.sessionId} ${state(info?.state)}`),
          });
          if (reports.length >= registry.cutAfter) throw away("registry");
          yield { drain: registry.drain, reportEveryMs: 100 };
        }
      },
    }),
  ]);
  const b = bench();
  const book = createSessionBook(b.runtime, "runtime-1");
  const told = { drain: [] as boolean[], there: [] as boolean[] };
  const state = { draining: false };
  const reporting = startInstanceReport({
    registry: connection,
    clock: createSystemClock(),
    logger: silentLogger,
    book,
    status: () => ({ instanceId: "runtime-1", role: "runtime", draining: state.draining, ready: !state.draining }),
    onDrain: (drain) => void told.drain.push(drain),
    onReachable: (there) => void told.there.push(there),
    random: () => 0,
  });
  onTestFinished(() => reporting.stop());
  const open = (sessionId: string) => {
    const opened = b.open({ sessionId });
    book.opened(opened.session);
    return opened.session;
  };
  const next = async (count = 1): Promise<void> => {
    const from = reports.length;
    reporting.now();
    await waitFor(() => reports.length >= from + count);
  };
  return { reports, registry, b, book, told, state, reporting, open, next };
}

test("F-159 an instance reports its status and the sessions that changed, an ended one until it was taken", async () => {
  const r = await rig();
  await waitFor(() => r.reports.length > 0);
  expect(r.reports[0]?.status).toMatchObject({ instanceId: "runtime-1", role: "runtime", ready: true });
  const session = r.open("s");
  await r.b.pass(100);
  await r.next();
  expect(r.reports.at(-1)?.sessions).toEqual(["s ACTIVE"]);
  await r.next();
  expect(r.reports.at(-1)?.sessions).toEqual([]);
  session.operator("end", { reason: "done" });
  await r.b.pass(100);
  // The report that names it is lost.
  r.registry.cutAfter = r.reports.length + 1;
  await r.next();
  expect(r.reports.at(-1)?.sessions).toEqual(["s ENDED"]);
  r.registry.cutAfter = Number.POSITIVE_INFINITY;
  const lost = r.reports.length;
  await waitFor(() => r.reports.length > lost || r.told.there.at(-1) === false);
  await waitFor(() => r.reports.length > lost);
  expect(r.reports[lost]?.sessions).toEqual(["s ENDED"]);
  await r.next();
  expect(r.reports.at(-1)?.sessions).toEqual([]);
});

test("a registry that is away is told of, and reported to again from the beginning when it is back", async () => {
  const r = await rig();
  await waitFor(() => r.reports.length > 0);
  r.open("s");
  await r.next();
  r.registry.away = true;
  r.registry.cutAfter = 0;
  await r.next();
  await waitFor(() => r.told.there.at(-1) === false);
  const before = r.reports.length;
  r.registry.away = false;
  r.registry.cutAfter = Number.POSITIVE_INFINITY;
  await waitFor(() => r.told.there.at(-1) === true);
  expect(r.reports[before]?.sessions).toEqual(["s ACTIVE"]);
});

test("the registry's wish to drain is passed on, and the last report says what is true at the stop", async () => {
  const r = await rig();
  await waitFor(() => r.told.drain.length > 0);
  expect(r.told.drain.at(-1)).toBe(false);
  r.registry.drain = true;
  await r.next(2);
  expect(r.told.drain).toContain(true);
  r.state.draining = true;
  await r.reporting.stop();
  expect(r.reports.at(-1)?.status).toMatchObject({ draining: true, ready: false });
  const after = r.reports.length;
  await new Promise((resolve) => setImmediate(resolve));
  expect(r.reports).toHaveLength(after);
});

/** Where a real wait of the reporter, some 100 ms, stands in between. */
async function waitFor(done: () => boolean): Promise<void> {
  for (const end = performance.now() + 5_000; !done(); ) {
    if (performance.now() > end) throw new Error("the awaited state did not come");
    await new Promise((resolve) => setImmediate(resolve));
  }
}
