/**
 * Child of the crash test: appends for ever and says each acknowledged record on stdout. It is killed from outside, or by
 * itself after a number of written pieces, so that some records are surely torn.
 */
import { writeSync } from "node:fs";
import { createSystemClock } from "@rspp/host/system-clock";
import { openNodeStore } from "./node-store.ts";
import { createSpool } from "./spool.ts";
import type { SpoolStore } from "./store.ts";

const opened = openNodeStore(process.argv[2] ?? "");
if (!opened.ok) throw new Error(opened.error.detail);

let piecesLeft = Number(process.argv[3] ?? Number.POSITIVE_INFINITY);

/** Each append in pieces, so that a kill leaves every kind of torn record. */
function inPieces(inner: SpoolStore): SpoolStore {
  return {
    list: () => inner.list(),
    read: (segment) => inner.read(segment),
    readRange: (segment, offset, length) => inner.readRange(segment, offset, length),
    sync: (segment, done) => inner.sync(segment, done),
    truncate: (segment, bytes) => inner.truncate(segment, bytes),
    remove: (segment) => inner.remove(segment),
    freeBytes: () => inner.freeBytes(),
    close: () => inner.close(),
    append(segment, bytes) {
      for (let at = 0; at < bytes.length; at += 100) {
        const failure = inner.append(segment, bytes.subarray(at, at + 100));
        if (failure !== null) return failure;
        piecesLeft -= 1;
        if (piecesLeft <= 0) process.kill(process.pid, "SIGKILL");
      }
      return null;
    },
  };
}

const spool = createSpool({ store: inPieces(opened.value), clock: createSystemClock(), segmentBytesMax: 65_536 });
for (const problem of spool.recovery.problems) writeSync(1, `problem ${problem.kind}\n`);
const stream = { tenantId: "t", sessionId: "crash", epoch: 1 };
for (let n = spool.marks(stream).appended + 1; ; n++) {
  spool.line(stream, "journal", JSON.stringify([n, 0, 0, "digest", []]));
  const result = spool.append(stream, "evidence", JSON.stringify({ n, filler: "x".repeat((n * 37) % 2_000) }));
  if (!result.ok) throw new Error(result.detail);
  writeSync(1, `ack ${result.seq}\n`);
}
