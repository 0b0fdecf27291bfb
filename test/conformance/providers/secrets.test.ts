/** No key, prompt, transcript or answer in anything that is told of a call: outcomes, health, circuits, metrics, output. */

import { createProviderGateway } from "@rspp/provider-gateway/gateway";
import { watchHealth } from "@rspp/provider-gateway/health";
import { systemClock } from "@rspp/provider-gateway/testing/clocks";
import { recorder, request } from "@rspp/provider-gateway/testing/recorder";
import { MetricRegistry } from "@rspp/telemetry/metric-registry";
import { describe, expect, test, vi } from "vitest";
import { type Fault, faults, tonePcm } from "../../fakes/fake.ts";
import { fakedVendors, vendorStage } from "./vendor-stage.ts";

const PROMPT = "planted-prompt-kumquat";
const WORDS = "planted-words-rhubarb";
const ANSWER = "planted-answer-tamarind";
/** SDKs that log requests do so when these say so. */
const debug = {
  DEBUG: "*",
  OPENAI_LOG: "debug",
  ANTHROPIC_LOG: "debug",
  CO_LOG: "debug",
  GRPC_TRACE: "all",
  GRPC_VERBOSITY: "DEBUG",
};
const format = { codec: "pcm_s16le", rateHz: 16_000, channels: 1 } as const;

/** Everything this process writes while `work` runs. */
async function written(work: () => Promise<void>): Promise<string> {
  let text = "";
  const note = (...parts: unknown[]): boolean => {
    text += parts.map(String).join(" ");
    return true;
  };
  const spies = [
    vi.spyOn(process.stdout, "write").mockImplementation(note as never),
    vi.spyOn(process.stderr, "write").mockImplementation(note as never),
    ...(["log", "info", "warn", "error", "debug"] as const).map((name) =>
      vi.spyOn(console, name).mockImplementation(note),
    ),
  ];
  try {
    await work();
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
  return text;
}

describe("F-061 NF-011 nothing secret is told", () => {
  test.each(fakedVendors.map((entry) => [entry.name, entry] as const))(
    "%s, at debug level, well and in every fault",
    {
      timeout: 60_000,
    },
    async (_name, entry) => {
      for (const [name, value] of Object.entries(debug)) vi.stubEnv(name, value);
      const clock = systemClock();
      const stage = await vendorStage(entry, clock);
      const metrics = new MetricRegistry();
      const gateway = createProviderGateway({ clock, providers: [stage.provider], metrics });
      const health = watchHealth(gateway, clock, [entry.name]);
      const told: unknown[] = [];
      const one = async (fault: Fault, streaming: boolean): Promise<void> => {
        stage.fault(fault);
        stage.script({ transcript: ANSWER, partials: [ANSWER.slice(0, 9)], reply: ANSWER, audioMs: 40, chunkMs: 1 });
        const settings = { prompt: PROMPT, streaming, connect_timeout_ms: 150, stall_ms: 150, key_terms: [WORDS] };
        const sink = recorder();
        const ids = {
          invocationId: `i-${told.length}`,
          sessionId: `s-${told.length}`,
          idempotencyKey: `k-${told.length}`,
        };
        const open = request({
          modality: entry.modality,
          provider: entry.name,
          settings,
          attemptTimeoutMs: 150,
          ...ids,
        });
        const invocation = health.port.open(open, sink);
        if (entry.modality === "stt")
          invocation.push({ kind: "audio", bytes: new Uint8Array(tonePcm(200, 16_000)), format, durationUs: 200_000 });
        else if (entry.modality === "tts") invocation.push({ kind: "text", text: WORDS, segment: 0 });
        else invocation.push({ kind: "messages", messages: [{ role: "user", text: WORDS }] });
        invocation.finish();
        told.push(await sink.ended);
      };
      const output = await written(async () => {
        for (const fault of faults) for (const streaming of [true, false]) await one(fault, streaming);
      });
      vi.unstubAllEnvs();
      const series = metrics.collect().flatMap(({ family }) => [family.definition, ...family.series()]);
      const versions = JSON.stringify([told, gateway.circuits(), gateway.counters(), series]);
      const all = `${output}\n${versions}\n${health.snapshot().map(String).join("\n")}\n${JSON.stringify(health.report())}`;
      expect(told.length).toBe(2 * faults.length);
      for (const planted of [PROMPT, WORDS, ANSWER, stage.fake.key])
        expect(all.includes(planted), `${planted.slice(0, 12)}… is told by ${entry.name}`).toBe(false);
      health.close();
      await gateway.close();
      await stage.close();
    },
  );
});
