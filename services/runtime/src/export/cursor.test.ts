import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { encodeFrame, GENESIS } from "../spool/frame.ts";
import { openNodeStore } from "../spool/node-store.ts";
import { SpoolCursor } from "./cursor.ts";

test("F-149 a segment that was acknowledged and removed under the reader is over; it goes on with the next", () => {
  const dir = mkdtempSync(join(tmpdir(), "rspp-cursor-"));
  const opened = openNodeStore(dir);
  if (!opened.ok) throw new Error(opened.error.detail);
  const store = opened.value;
  onTestFinished(() => {
    store.close();
    rmSync(dir, { recursive: true });
  });
  const record = (seq: number) => {
    const at = { tenantId: "t", sessionId: "s", epoch: 1, seq, wallMs: seq, prev: GENESIS };
    return encodeFrame({ ...at, kind: "marker", payload: Buffer.from("{}") }).frame;
  };
  store.append("0000000001", record(1));
  const cursor = new SpoolCursor(store);
  expect(cursor.peek()?.seq).toBe(1);
  cursor.advance();
  expect(cursor.peek()).toBeNull();
  store.remove("0000000001");
  expect(cursor.peek()).toBeNull();
  store.append("0000000002", record(2));
  expect(cursor.peek()?.seq).toBe(2);
});
