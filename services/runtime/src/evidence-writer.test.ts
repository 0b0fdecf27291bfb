import { asMonoNs, msToNs } from "@rspp/base/brand";
import type { TimelineRecord } from "@rspp/kernel/effect";
import { expect, test } from "vitest";
import { createVirtualClock } from "./clock/virtual-clock.ts";
import { EvidenceWriter } from "./evidence-writer.ts";
import { createMemoryStore } from "./spool/memory-store.ts";
import { createSpool } from "./spool/spool.ts";

test("F-153 an addendum waits behind the manifest that could not be appended at once", () => {
  const clock = createVirtualClock();
  const store = createMemoryStore();
  const spool = createSpool({ store, clock });
  const host = { appendFailed: () => {}, lost: () => {}, quota: () => {} };
  const writer = new EvidenceWriter(spool, { tenantId: "t", sessionId: "s1", epoch: 1 }, clock, 0, host);
  const manifest: TimelineRecord = { kind: "evidence", turn: 1, hash: "a", manifest: {} };
  const addendum: TimelineRecord = { kind: "delivery_addendum", turn: 1, hash: "b", addendum: {} };
  store.failNextAppend("io", 0);
  writer.write(manifest);
  writer.write(addendum);
  clock.advanceTo(asMonoNs(msToNs(200)));
  const kinds = spool.readSession("s1").runs.flatMap((run) => run.records.map((record) => record.kind));
  expect(kinds).toEqual(["evidence", "delivery_addendum"]);
});
