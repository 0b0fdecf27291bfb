import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { OutputChunkSchema } from "@rspp/gen/rspp/provider/v1/invocation_pb";
import type { InvocationChunk } from "@rspp/ports/provider";
import { expect, test } from "vitest";
import { chunkFromWire, chunkToWire } from "./invocation-messages.ts";

function overTheWire(chunk: InvocationChunk): InvocationChunk {
  const sent = chunkToWire(chunk);
  if (!sent.ok) throw new Error(sent.error);
  const got = chunkFromWire(fromBinary(OutputChunkSchema, toBinary(OutputChunkSchema, sent.value.output)), 0);
  if (!got.ok) throw new Error(got.error);
  return got.value;
}

test("F-160 a recogniser's word timings and endpointing hint cross the wire; without them nothing is added", () => {
  const plain = { kind: "text", text: "go left", segment: 1, revision: 4, final: true } as const;
  const words = [
    { from: 0, to: 2, startUs: 80_000, endUs: 300_000 },
    { from: 3, to: 7, startUs: 300_000, endUs: 610_000 },
  ];
  expect(overTheWire({ ...plain, words, endpoint: true })).toEqual({ ...plain, words, endpoint: true });
  expect(overTheWire(plain)).toEqual(plain);
  const many = Array.from({ length: 5_000 }, () => ({ from: 0, to: 2, startUs: 0, endUs: 1 }));
  const kept = overTheWire({ ...plain, words: many });
  expect(kept.kind === "text" && kept.words?.length).toBe(4_096);
});
