import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ServiceContext } from "@rspp/host/service";
import type { ProviderPort } from "@rspp/ports/provider";
import { beforeEach, expect, onTestFinished, test, vi } from "vitest";
import type { RuntimeConfig } from "./config.ts";
import { createRuntimeDefinition } from "./definition.ts";

const closed: string[] = [];
let vadFails = false;
const connect = () => ({});
const closing = (name: string) => async () => void closed.push(name);

vi.mock("./vad/vad.ts", () => ({
  createVadHost: async () => {
    if (vadFails) throw new Error("no voice detection");
    return { name: "none", openSession: () => ({}), close: closing("vad") };
  },
}));
vi.mock("./export/exporter.ts", () => ({ startExporter: () => ({ stop: closing("exporter") }) }));

beforeEach(() => {
  closed.length = 0;
  vadFails = false;
});

/** A start that fails, with what it left: `spool` where that is still held. */
async function failedStart(context: object, providers?: () => Promise<ProviderPort>): Promise<string[]> {
  const data = mkdtempSync(join(tmpdir(), "rspp-runtime-"));
  onTestFinished(() => rmSync(data, { recursive: true, force: true }));
  const own = async () => ({ close: closing("providers") }) as unknown as ProviderPort;
  const definition = createRuntimeDefinition({ providers: providers ?? own, watchdog: false });
  const values = {
    data,
    gateway: "",
    replay: "http://replay",
    registry: "",
    lease: "",
    layers: "",
    silero: "off",
    node_packages: "",
  };
  const given = context as unknown as ServiceContext;
  await expect((async () => definition.start(values as unknown as RuntimeConfig, given))()).rejects.toThrow("no ");
  return existsSync(join(data, "spool", "spool.lock")) ? [...closed, "spool held"] : [...closed];
}

test("a runtime that cannot start leaves nothing open: providers, voice detection, export, spool", async () => {
  let asked = 0;
  const noTelemetry = {
    connect,
    // The providers measure; the runtime, which is made last, is what finds nothing.
    get telemetry(): object {
      if (asked++ > 0) throw new Error("no telemetry");
      return { metrics: {} };
    },
  };
  expect(await failedStart(noTelemetry)).toEqual(["exporter", "vad", "providers"]);
});

test("what is opened at once with something that fails is closed too, also when it is there later", async () => {
  vadFails = true;
  const late = async () => {
    await new Promise((resolve) => setImmediate(resolve));
    return { close: closing("providers") } as unknown as ProviderPort;
  };
  expect(await failedStart({ connect, telemetry: { metrics: {} } }, late)).toEqual(["providers"]);
  vadFails = false;
  closed.length = 0;
  expect(
    await failedStart({ connect, telemetry: { metrics: {} } }, () => Promise.reject(new Error("no providers"))),
  ).toEqual(["vad"]);
});

test("a peer that cannot be connected to leaves the spool to the next start", async () => {
  const noLease = (peer: string) => {
    if (peer === "lease") throw new Error("no lease");
    return {};
  };
  expect(await failedStart({ connect: noLease })).toEqual([]);
});
