/** Many sessions, few connections (F-105): counted where they are, and what one session does is no other's trouble. */

import { invocationLimits } from "@rspp/remote/invocation-limits";
import { testDatabase } from "@rspp/store/testkit/test-database";
import { sql } from "drizzle-orm";
import { expect, onTestFinished, test } from "vitest";
import { puppetRig, until } from "./invocation-rig.ts";
import { mediaOut, remoteRig } from "./remote-session-rig.ts";

test("F-105 forty sessions share two pairs, four TCP connections; one that fails and one that floods leave the others alone", async () => {
  const rig = await remoteRig({ opener: { link: { linksPerRuntime: 2 } } });
  onTestFinished(() => rig.stop());
  const all = await Promise.all(Array.from({ length: 40 }, (_, n) => rig.open(`s-${n}`)));
  expect(rig.opener.stats().links.map(({ sessions }) => sessions)).toEqual([20, 20]);
  expect(rig.server.links()).toHaveLength(2);
  // Control and media of each pair.
  expect(rig.line.connections).toBe(4);
  const [failing, flooding, ...others] = all;
  for (let n = 1; n <= 2_000; n++) flooding?.host.send(mediaOut(flooding.host.open.epoch, 1, 0, n));
  failing?.host.send({ kind: "close", epoch: failing.host.open.epoch, reason: "internal" });
  for (const { host } of others) for (let n = 1; n <= 3; n++) host.send(mediaOut(host.open.epoch, 1, 0, n));
  const heard = (one: (typeof all)[number]) => one.caller.told.filter(({ kind }) => kind === "media").length;
  await until(() => others.every((one) => heard(one) === 3), "three frames of each of the others");
  await until(() => failing?.caller.closed === "internal", "the end of the one that failed");
  expect(others.map(({ caller }) => caller.closed)).toEqual(others.map(() => null));
  expect(rig.opener.stats().sessions).toBe(39);
  expect(rig.line.connections).toBe(4);
});

test("F-105 a hundred invocations share the streams that are there; one that fails and one that floods leave the others alone", async () => {
  const { puppet, remote, open } = await puppetRig();
  const all = Array.from({ length: 100 }, () => open());
  await until(() => puppet.sinks.length === 100, "all of them");
  expect([remote.sharedStreams, remote.inFlight]).toEqual([invocationLimits.CONNECTIONS, 100]);
  const [failing, flooding, ...others] = puppet.sinks;
  const format = { codec: "pcm_s16le", rateHz: 16_000, channels: 1 } as const;
  const chunk = { kind: "audio", format, durationUs: 20_000, segment: 0, segmentEnd: false, segmentChars: 5 } as const;
  for (let n = 0; n < 500; n++) flooding?.chunk({ ...chunk, bytes: new Uint8Array(640) });
  failing?.outcome({ kind: "error", detail: "it broke" });
  for (const sink of others) {
    sink.chunk({ ...chunk, bytes: new Uint8Array(640) });
    sink.outcome({ kind: "success", detail: "" });
  }
  const outcomes = await Promise.all(all.filter((_, n) => n !== 1).map(({ sink }) => sink.ended));
  expect(outcomes.map(({ kind }) => kind)).toEqual(["error", ...others.map(() => "success")]);
  expect(all.slice(2).map(({ sink }) => sink.chunks.length)).toEqual(others.map(() => 1));
  expect([remote.sharedStreams, remote.inFlight]).toEqual([invocationLimits.CONNECTIONS, 1]);
});

test("F-105 a hundred transactions share four connections, one that fails rolls back alone, and what waits is counted", async () => {
  const at = await testDatabase({ connectionsMax: 4 });
  onTestFinished(() => at.close());
  let openMax = 0;
  let waitingMax = 0;
  const done = await Promise.allSettled(
    Array.from({ length: 100 }, (_, n) =>
      at.db.transaction(async (tx) => {
        const { open, waiting } = at.db.connections();
        [openMax, waitingMax] = [Math.max(openMax, open), Math.max(waitingMax, waiting)];
        await tx.execute(sql`SELECT ${n}::integer`);
        if (n === 50) throw new Error("mine alone");
        return n;
      }),
    ),
  );
  expect(done.filter(({ status }) => status === "rejected")).toHaveLength(1);
  expect(done[50]).toMatchObject({ status: "rejected", reason: { message: "mine alone" } });
  expect(openMax).toBe(4);
  expect(waitingMax).toBeGreaterThan(0);
  expect(at.db.connections()).toMatchObject({ waiting: 0 });
});
