import type { SessionNote } from "@rspp/ports/session-opener";
import { expect, test } from "vitest";
import { LinkCodec } from "./link-codec.ts";
import { noteFromLink, noteToLink } from "./link-notes.ts";

const constants = {
  tenant: "acme",
  session: "s-1",
  pipelineVersion: "a@1",
  epoch: 1,
  codec: "pcm_s16le",
  sampleRateHz: 16_000,
  channels: 1,
};

test.each<SessionNote>([
  { kind: "metrics", name: "edge_depth_items", value: 3, turn: 2, node: "", edge: "e5" },
  { kind: "metrics", name: "node_run_ms", value: 41.5, turn: 2, node: "llm" },
])("F-026 a metric keeps its node and its edge over the link: %j", (note) => {
  const sent = noteToLink(new LinkCodec(constants, () => 1_700_000_000_000), note, 1);
  if (!sent.ok || sent.value.kind !== "media") throw new Error("a metric is telemetry");
  expect(noteFromLink(sent.value.envelope)).toEqual(note);
});
