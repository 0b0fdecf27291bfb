import { silentLog } from "@rspp/rpc/log";
import type { AuditEntry } from "@rspp/store/audit-store";
import { StoreError } from "@rspp/store/store-error";
import { expect, test } from "vitest";
import { AuditWriter } from "./audit-writer.ts";

const record = (subject: string) => ({
  tenantId: "acme",
  actor: "ci",
  action: "x.y.Z/Do",
  subject,
  detail: { outcome: "done" },
});
const away = new StoreError("unavailable", "away", "wait");

test("F-097 records of one moment share one write; an outage delays and loses none", async () => {
  const written: (readonly AuditEntry[])[] = [];
  const keys: string[] = [];
  let failures = 2;
  const write = async (entries: readonly AuditEntry[], key: string) => {
    keys.push(key);
    if (failures-- > 0) throw away;
    written.push(entries);
  };
  const writer = new AuditWriter({ write, log: silentLog, wallMs: () => 7, retryMs: 1 });
  await Promise.all(Array.from({ length: 200 }, (_, i) => writer.record(record(`${i}`))));
  expect(written.map((entries) => entries.length)).toEqual([128, 72]);
  expect(written.flat().map(({ subject }) => Number(subject))).toEqual(Array.from({ length: 200 }, (_, i) => i));
  expect(written[0]?.[0]).toMatchObject({ atWallMs: 7, actor: "ci" });
  // Repeats of one batch are known by their key.
  expect(new Set(keys).size).toBe(2);
  await writer.close();
  expect(writer.lost).toBe(0);
});

test("F-097 what the log refuses for good keeps nothing else from it; the end loses no caller", async () => {
  const written: string[] = [];
  const write = async (entries: readonly AuditEntry[]) => {
    if (entries.some(({ subject }) => subject === "bad")) throw new StoreError("invalid", "no", "mend");
    if (entries.some(({ subject }) => subject === "late")) throw away;
    written.push(...entries.map(({ subject }) => subject));
  };
  const writer = new AuditWriter({ write, log: silentLog });
  await writer.record(record("bad"));
  await writer.record(record("good\0and \ud800 broken"));
  expect(written).toEqual(["good\ufffdand \ufffd broken"]);
  expect(writer.lost).toBe(1);
  const late = writer.record(record("late"));
  await writer.close();
  await late;
  expect(writer.lost).toBe(2);
});
