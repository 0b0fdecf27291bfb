/** What the kernel records of one call at L1, as lines to repeat. */
import { SpoolCursor } from "@rspp/runtime/export/cursor";
import type { SpoolRecord } from "@rspp/runtime/spool/frame";
import { bench } from "@rspp/runtime/testing/bench";

export interface RecordedCall {
  /** Lines of its groups, in order. */
  readonly lines: readonly { readonly tag: string; readonly json: string }[];
  readonly records: readonly SpoolRecord[];
  readonly durationMs: number;
}

/** A question and its answer, and another answer that the caller speaks over; under a virtual clock. */
export async function recordedCall(): Promise<RecordedCall> {
  const b = bench();
  const startMs = b.clock.wallMs();
  const { line, session } = b.open({ recording: { policyId: "p", ceiling: "L1", evidenceQuotaBytes: 262_144 } });
  await b.talk(line, 20, 60);
  await b.pass(3_000);
  await b.talk(line, 20, 40);
  await b.talk(line, 40, 60);
  await b.pass(3_000);
  session.operator("end");
  await b.pass(200);
  const durationMs = b.clock.wallMs() - startMs;
  await b.spool.sync();
  const records: SpoolRecord[] = [];
  const cursor = new SpoolCursor(b.store);
  for (let record = cursor.peek(); record !== null; record = cursor.peek()) {
    if (record.kind !== "mark") records.push(record);
    cursor.advance();
  }
  const lines = records
    .filter(({ kind }) => kind === "group")
    .flatMap(({ payload }) => Buffer.from(payload).toString().split("\n"))
    .filter((text) => text !== "")
    .map((text) => ({ tag: text.slice(0, text.indexOf(" ")), json: text.slice(text.indexOf(" ") + 1) }));
  return { lines, records, durationMs };
}
