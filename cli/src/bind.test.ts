import { fileURLToPath } from "node:url";
import type { ProviderPort } from "@rspp/ports/provider";
import { describe, expect, test } from "vitest";
import { bindForCall } from "./bind.ts";
import { InputError } from "./errors.ts";
import { loadPipeline } from "./pipeline.ts";

const template = fileURLToPath(new URL("../../pipelines/specs/voice-assistant.yaml", import.meta.url));
const gateway = (...names: string[]): ProviderPort => ({
  open: () => {
    throw new Error("nothing is opened here");
  },
  providers: () => names,
  close: () => Promise.resolve(),
});
const others = ["local/responder", "local/flite", "sim/stt"];
const options = { transcripts: ["when do you open"] };

describe("binding providers", () => {
  test("F-153 where pocketsphinx serves, the simulation and what it would say are nowhere in the plan", async () => {
    const { compiled } = await loadPipeline(template);
    const bound = bindForCall(compiled, gateway("local/pocketsphinx", ...others), options);
    expect([bound.recogniser, bound.llm, bound.tts]).toEqual(["local/pocketsphinx", "local/responder", "local/flite"]);
    expect(JSON.stringify(bound.pipeline.graph)).not.toContain("sim/stt");
    expect(bound.told.join("\n")).toContain("really recognised");
  });

  test("F-078 where it does not, or where asked, the simulation serves and says so in one line", async () => {
    const { compiled } = await loadPipeline(template);
    const absent = bindForCall(compiled, gateway(...others), options);
    const asked = bindForCall(compiled, gateway("local/pocketsphinx", ...others), { ...options, stt: "sim/stt" });
    for (const [bound, why] of [
      [absent, /not installed.*apt-get/],
      [asked, /as asked/],
    ] as const) {
      expect(bound.recogniser).toBe("sim/stt");
      const lines = bound.told.filter((line) => line.includes("SIMULATED"));
      expect(lines.length).toBe(1);
      expect(lines[0]).toMatch(why);
      const stt = bound.pipeline.graph.nodes.find((node) => node.kind === "stt");
      expect(stt?.candidates.map(({ settings }) => settings.transcripts)).toEqual([options.transcripts]);
    }
  });

  test("a node without a provider that can serve is refused with what is available", async () => {
    const { compiled } = await loadPipeline(template);
    const bind = (): unknown => bindForCall(compiled, gateway("sim/stt", "local/flite"), options);
    expect(bind).toThrow(InputError);
    expect(bind).toThrow(/node llm: .*help: available are sim\/stt, local\/flite/s);
  });
});
