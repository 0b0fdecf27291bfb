import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { InvocationInput, SettingValue } from "@rspp/ports/provider";
import { createLog } from "@rspp/rpc/log";
import { describe, expect, onTestFinished, test } from "vitest";
import { endedInvocation, type ManagedProvider } from "../attempt.ts";
import { gatewayFields } from "../config.ts";
import { createProviderGateway } from "../gateway.ts";
import { systemClock } from "../testing/clocks.ts";
import { recorder, request } from "../testing/recorder.ts";
import { vendorCatalogue } from "./catalogue.ts";
import { lazyLimits } from "./lazy-provider.ts";
import type { VendorAccess, VendorEntry } from "./vendor.ts";
import { openVendors, type VendorsOptions, vendorsOf } from "./vendors.ts";

const clock = systemClock();

/** A vendor whose provider says what it was reached by. */
function acme(over: Partial<VendorEntry> = {}) {
  let access: VendorAccess | undefined;
  let loads = 0;
  const opened: { settings: Readonly<Record<string, SettingValue>>; inputs: InvocationInput[] }[] = [];
  const gate = Promise.withResolvers<void>();
  const entry: VendorEntry = {
    name: "acme/stt",
    modality: "stt",
    terms: "a vendor",
    baseUrl: "https://api.acme.example",
    keyVariable: "ACME_API_KEY",
    baseUrlVariable: "ACME_BASE_URL",
    options: { region: "ACME_REGION" },
    capabilities: {},
    load: async () => {
      loads++;
      await gate.promise;
      return (given): ManagedProvider => {
        access = given;
        return { name: "acme/stt", modality: "stt", open: ({ settings }, sink) => listen(settings, sink) };
      };
    },
    ...over,
  };
  function listen(settings: Readonly<Record<string, SettingValue>>, sink: Parameters<ManagedProvider["open"]>[1]) {
    const inputs: InvocationInput[] = [];
    opened.push({ settings, inputs });
    return {
      push: (input: InvocationInput) => void inputs.push(input),
      finish: () => sink.outcome({ kind: "success", detail: `${inputs.length} inputs` }),
      cancel: () => sink.outcome({ kind: "cancelled", detail: "cancelled" }),
    };
  }
  return { entry, opened, letLoad: () => gate.resolve(), access: () => access, loads: () => loads };
}

async function provide(entry: VendorEntry, options: Partial<VendorsOptions> = {}) {
  const vendors = await openVendors({ env: {}, ...options, catalogue: [entry] });
  const gateway = createProviderGateway({ clock, providers: vendors.providers(clock) });
  onTestFinished(() => gateway.close());
  const open = (settings: Record<string, SettingValue> = {}) => {
    const sink = recorder();
    const { name: provider, modality } = entry;
    return { sink, invocation: gateway.open(request({ modality, provider, settings }), sink) };
  };
  return { vendors, gateway, open };
}

const audio = (bytes: number): InvocationInput => ({
  kind: "audio",
  bytes: new Uint8Array(bytes),
  format: { codec: "pcm_s16le", rateHz: 16_000, channels: 1 },
  durationUs: 20_000,
});

test("F-061 a vendor's key is taken up when it was changed, the last stays while it cannot be read, no line holds one", async () => {
  const dir = mkdtempSync(join(tmpdir(), "rspp-key-"));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  const path = join(dir, "acme");
  const lines: string[] = [];
  const destination = { write: (line: string): void => void lines.push(line) };
  const log = createLog({ service: "test", level: "debug", instance: "t", destination });
  writeFileSync(path, "PLANTEDONE\n");
  const env = { RSPP_SECRETS_DIR: dir, OTHER: "PLANTEDOTHER" };
  const one = acme();
  one.letLoad();
  const { vendors, gateway, open } = await provide(one.entry, { values: { acme_api_key: "mount:acme" }, env, log });
  await gateway.warm();
  expect(one.access()?.key()).toBe("PLANTEDONE");
  // A session that opens now asks again, and is given what is there.
  writeFileSync(path, "PLANTEDTWO\n");
  await vendors.refresh();
  expect(one.access()?.key()).toBe("PLANTEDTWO");
  rmSync(path);
  await vendors.refresh();
  expect(one.access()?.key()).toBe("PLANTEDTWO");
  // Pipelines come from tenants: they read no other secret of this process.
  const { sink } = open({ api_key: "env:OTHER" });
  expect((await sink.ended).kind).toBe("unauthorized");
  expect(one.opened).toEqual([]);
  open({ api_key: "mount:acme" });
  expect(one.opened.length).toBe(1);
  expect(lines.join("\n")).toContain("cannot be read");
  expect(lines.join("\n")).not.toContain("PLANTED");
});

describe("what is configured", () => {
  test("F-160 a vendor that is not configured is not loaded, and its outcome names the variable to set", async () => {
    const one = acme();
    const { gateway, open } = await provide(one.entry);
    await gateway.warm();
    expect(gateway.providers()).toEqual([]);
    const outcome = await open().sink.ended;
    expect(outcome).toEqual({ kind: "error", detail: "acme/stt is not configured; set ACME_API_KEY" });
    expect(one.loads()).toBe(0);
  });

  test("from the vendor's variables, or the configuration before them; a server of one's own needs no key", async () => {
    const one = acme();
    one.letLoad();
    const env = { ACME_API_KEY: "k1", ACME_BASE_URL: "http://127.0.0.1:1/", ACME_REGION: "eu", MINE: "k2" };
    const { gateway } = await provide(one.entry, { env });
    await gateway.warm();
    expect(gateway.providers()).toEqual(["acme/stt"]);
    expect(one.access()).toMatchObject({ baseUrl: "http://127.0.0.1:1", options: { region: "eu" } });
    expect(one.access()?.key()).toBe("k1");
    const values = { acme_api_key: "env:MINE", acme_base_url: "https://own.example/v2" };
    await (await provide(one.entry, { env, values })).gateway.warm();
    expect(one.access()?.baseUrl).toBe("https://own.example/v2");
    expect(one.access()?.key()).toBe("k2");
    const keyless = acme({ keyOptional: true });
    const { gateway: own } = await provide(keyless.entry, { env: { ACME_BASE_URL: "http://127.0.0.1:1" } });
    expect(own.providers()).toEqual(["acme/stt"]);
  });

  test("a base URL that is none, and a key that stands where its reference belongs, are refused by name", async () => {
    const { entry } = acme();
    const bad = openVendors({ catalogue: [entry], env: { ACME_BASE_URL: "https://me:sk-1@host/" } });
    await expect(bad).rejects.toThrow("ACME_BASE_URL");
    await expect(bad).rejects.not.toThrow("sk-1");
    const literal = openVendors({ catalogue: [entry], env: {}, values: { acme_api_key: "sk-2" } });
    await expect(literal).rejects.toThrow("by reference");
    await expect(vendorsOf({ RSPP_OPENAI_API_KEY: "env:NOT_THERE" })).rejects.toThrow("env:NOT_THERE");
  });

  test("what the operator publishes goes before: endpoint, key, model, or that it is off", async () => {
    const one = acme();
    one.letLoad();
    const { vendors, gateway, open } = await provide(one.entry, { env: { ACME_API_KEY: "k1", NEW: "k2" } });
    await gateway.warm();
    const endpoint = "https://eu.acme.example/";
    await vendors.configure({ "acme/stt": { endpoint, model: "small", settings: { api_key: "env:NEW" } } });
    expect(one.access()?.baseUrl).toBe("https://eu.acme.example");
    expect(one.access()?.key()).toBe("k2");
    open();
    open({ model: "large" });
    expect(one.opened.map(({ settings }) => settings.model)).toEqual(["small", "large"]);
    // What stands at an endpoint is sent no key that was meant for another.
    await vendors.configure({ "acme/stt": { endpoint } });
    expect(one.access()?.key()).toBeUndefined();
    expect(gateway.providers()).toEqual([]);
    await vendors.configure({ "acme/stt": { settings: { api_key: "env:GONE" } } });
    expect(await open().sink.ended).toMatchObject({ kind: "unauthorized" });
    await vendors.configure({ "acme/stt": { enabled: false } });
    expect(gateway.providers()).toEqual([]);
    await vendors.configure({});
    expect(one.access()?.key()).toBe("k1");
    expect(one.access()?.baseUrl).toBe("https://api.acme.example");
  });

  test("every vendor of the catalogue has its keys in the gateway's configuration", () => {
    for (const { name, modality, keyVariable, baseUrlVariable, baseUrl } of vendorCatalogue) {
      expect(gatewayFields, name).toHaveProperty(
        keyVariable.toLowerCase(),
        expect.objectContaining({ kind: "secret" }),
      );
      expect(gatewayFields, name).toHaveProperty(baseUrlVariable.toLowerCase());
      expect(URL.canParse(baseUrl), name).toBe(true);
      expect(name.split("/")[1], name).toBe(modality === "llm" ? "chat" : modality);
    }
    expect(new Set(vendorCatalogue.map(({ name }) => name)).size).toBe(vendorCatalogue.length);
  });
});

describe("while the code is imported", () => {
  const env = { ACME_API_KEY: "k" };

  test("what comes in waits in order, once loaded nothing does, and it is loaded once", async () => {
    const one = acme();
    const { open } = await provide(one.entry, { env });
    const first = open();
    for (let i = 1; i <= 3; i++) first.invocation.push(audio(i));
    first.invocation.finish();
    const second = open();
    one.letLoad();
    expect(await first.sink.ended).toEqual({ kind: "success", detail: "3 inputs" });
    second.invocation.push(audio(4));
    second.invocation.finish();
    expect(await second.sink.ended).toEqual({ kind: "success", detail: "1 inputs" });
    expect(one.opened[0]?.inputs.map((input) => input.kind === "audio" && input.bytes.length)).toEqual([1, 2, 3]);
    expect(one.loads()).toBe(1);
  });

  test("cancelled it never opens; too much of it is overload; code that cannot be loaded is an error", async () => {
    const one = acme();
    const { open } = await provide(one.entry, { env });
    const cancelled = open();
    cancelled.invocation.cancel("barge_in");
    expect(cancelled.sink.outcomes.map(({ kind }) => kind)).toEqual(["cancelled"]);
    const full = open();
    full.invocation.push(audio(lazyLimits.BYTES_MAX));
    full.invocation.push(audio(1));
    expect((await full.sink.ended).kind).toBe("overload");
    one.letLoad();
    const last = open();
    last.invocation.finish();
    await last.sink.ended;
    expect(one.opened.length).toBe(1);
    const broken = await provide(acme({ load: () => Promise.reject(new Error("no such package")) }).entry, { env });
    await broken.gateway.warm();
    expect(await broken.open().sink.ended).toMatchObject({ kind: "error", detail: expect.stringContaining("loaded") });
  });

  test("settings a provider refuses, and one that throws, end as they would without the wait", async () => {
    const refusing = acme({
      load: async () => () => ({
        name: "acme/stt",
        modality: "stt",
        open: (_, sink) => endedInvocation(clock, sink, "error", "setting `x` must be a string"),
      }),
    });
    expect((await (await provide(refusing.entry, { env })).open().sink.ended).detail).toContain("`x`");
    const throwing = acme({
      load: async () => () => ({
        name: "acme/stt",
        modality: "stt",
        open: () => {
          throw new Error("secret text");
        },
      }),
    });
    const outcome = await (await provide(throwing.entry, { env })).open().sink.ended;
    expect(outcome).toEqual({ kind: "error", detail: "the provider threw an exception" });
  });
});
