import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished, test, vi } from "vitest";
import { graph } from "./graph.ts";
import { resolved } from "./resolved.ts";

const packages = fileURLToPath(new URL("../../../pipelines/nodes", import.meta.url));

const CUSTOM = `schema: rspp/pipeline/v1
name: reading
version: 1
nodes:
  - {id: caller, kind: ingress}
  - {id: vad, kind: vad}
  - {id: stt, kind: stt, provider: {candidates: [sim/stt]}}
  - {id: endpointing, kind: endpointing}
  - {id: context, kind: context}
  - {id: llm, kind: llm, provider: {candidates: [sim/llm]}}
  - {id: reader, kind: custom, package: number-reader@1.0.0, settings: {least_digits: 3}}
  - {id: segmenter, kind: segmenter}
  - {id: tts, kind: tts, provider: {candidates: [sim/tts]}}
  - {id: output, kind: output}
edges:
  - caller.audio -> vad.audio
  - caller.audio -> stt.audio
  - vad.activity -> endpointing.activity
  - stt.text -> endpointing.text
  - endpointing.utterance -> context.utterance
  - context.messages -> llm.messages
  - llm.text -> reader.text
  - reader.text -> segmenter.text
  - segmenter.text -> tts.text
  - tts.audio -> output.audio
`;

function specFile(): string {
  const dir = mkdtempSync(join(tmpdir(), "rspp-graph-"));
  onTestFinished(() => rmSync(dir, { recursive: true }));
  const path = join(dir, "reading.yaml");
  writeFileSync(path, CUSTOM);
  return path;
}

async function printed(run: () => Promise<number>): Promise<string> {
  const out: string[] = [];
  const write = vi.spyOn(process.stdout, "write").mockImplementation((text) => out.push(String(text)) > 0);
  try {
    expect(await run()).toBe(0);
  } finally {
    write.mockRestore();
  }
  return out.join("");
}

test("F-081 F-121 graph and resolved of a spec with custom nodes, by their packages", async () => {
  const path = specFile();
  const drawn = await printed(() => graph(path, { format: "list", nodes: [packages] }));
  expect(drawn).toContain("reader  (custom");
  const options = { nodes: [packages], json: true, runtime: "http://127.0.0.1:1", tenant: "default" };
  const told = JSON.parse(await printed(() => resolved(path, options as never))) as {
    values: { path: string; value: string }[];
  };
  expect(told.values).toContainEqual(
    expect.objectContaining({ path: "nodes.reader.settings.least_digits", value: "3" }),
  );
});

test("F-081 without the packages a custom node is refused with what to do", async () => {
  await expect(graph(specFile(), { format: "list" })).rejects.toThrow(/--nodes|package/);
});
