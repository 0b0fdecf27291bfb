import type { Clock } from "@rspp/ports/clock";
import type { Invocation, InvocationOpen, ProviderPort, SettingValue } from "@rspp/ports/provider";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ManagedProvider } from "../attempt.ts";
import { createProviderGateway, type ProviderGateway } from "../gateway.ts";
import { ManualClock, systemClock } from "./clocks.ts";
import { type Recorder, recorder, request } from "./recorder.ts";

export interface ConformanceSubject {
  /** Builds the provider on the given clock. */
  create(clock: Clock): ManagedProvider;
  /** `manual`: all its waiting is on the clock. `system`: it does real work. */
  clock: "manual" | "system";
  settings: Readonly<Record<string, SettingValue>>;
  /** Pushes input for which an answer comes. */
  feed(invocation: Invocation): void;
  /** A setting of this provider and a value of the wrong type. */
  badSetting: { name: string; value: SettingValue };
}

/** A way to a gateway, as its callers see it: itself, or from afar. */
export interface GatewayReach {
  readonly port: ProviderPort;
  /** Resolves when nothing of an invocation is under way any more. */
  settled(): Promise<void>;
  close(): Promise<void>;
}

export interface ConformanceOptions {
  /** Puts something between callers and gateway, e.g. a connection; its time is real. */
  reach?: { readonly name: string; open(gateway: ProviderGateway, provider: ManagedProvider): Promise<GatewayReach> };
}

/** One provider behind a gateway of its own. */
interface Rig {
  subject: ConformanceSubject;
  provider: ManagedProvider;
  gateway: ProviderGateway;
  port(): ProviderPort;
  settle(): Promise<void>;
  open(over?: Partial<InvocationOpen>): InvocationOpen;
  ended(sink: Recorder): Promise<Recorder["outcomes"][number]>;
}

/** What every provider owes the gateway, whatever its kind; one suite over all adapters. */
export function describeConformance(subject: ConformanceSubject, { reach }: ConformanceOptions = {}): void {
  const manual = new ManualClock();
  const virtual = subject.clock === "manual" && reach === undefined;
  const clock = virtual ? manual : systemClock();
  const provider = subject.create(clock);
  const gateway = createProviderGateway({ clock, providers: [provider] });
  let reached: GatewayReach | undefined;
  const rig: Rig = {
    subject,
    provider,
    gateway,
    port: () => reached?.port ?? gateway,
    settle: async () => {
      await reached?.settled();
      await settle(manual);
    },
    open: (over = {}) =>
      request({ modality: provider.modality, provider: provider.name, settings: subject.settings, ...over }),
    ended: async (sink) => {
      if (virtual) manual.advance(60_000);
      return sink.ended;
    },
  };
  describe(`F-055 F-160 conformance of ${provider.name}${reach === undefined ? "" : ` ${reach.name}`}`, () => {
    beforeAll(async () => {
      reached = await reach?.open(gateway, provider);
    });
    afterAll(async () => {
      await reached?.close();
      await gateway.close();
    });
    testOutcomes(rig);
    testRefusals(rig);
  });
}

function testOutcomes({ subject, provider, gateway, port, settle, open, ended }: Rig): void {
  test("open, push, finish: chunks, then one outcome, then nothing", async () => {
    const sink = recorder((chunk) => {
      expect(sink.outcomes).toEqual([]);
      expect(chunk.kind).toBe(provider.modality === "tts" ? "audio" : "text");
    });
    const invocation = port().open(open(), sink);
    subject.feed(invocation);
    invocation.finish();
    expect((await ended(sink)).kind).toBe("success");
    await settle();
    expect(sink.chunks.length).toBeGreaterThan(0);
    expect(sink.outcomes.length).toBe(1);
    checkChunks(sink);
    expectClean(gateway);
  });

  test("cancel: cancelled at once, nothing after, twice is once", async () => {
    const sink = recorder();
    const invocation = port().open(open(), sink);
    subject.feed(invocation);
    invocation.cancel("barge_in");
    expect(sink.outcomes.map((outcome) => outcome.kind)).toEqual(["cancelled"]);
    const chunks = sink.chunks.length;
    invocation.cancel("again");
    invocation.finish();
    await settle();
    expect(sink.chunks.length).toBe(chunks);
    expect(sink.outcomes.length).toBe(1);
    expectClean(gateway);
  });

  test("cancel after finish, and cancel without input, end the same way", async () => {
    for (const fed of [true, false]) {
      const sink = recorder();
      const invocation = port().open(open(), sink);
      if (fed) {
        subject.feed(invocation);
        invocation.finish();
      }
      invocation.cancel("stop");
      expect(sink.outcomes.length).toBe(1);
      await settle();
      expect(sink.outcomes.length).toBe(1);
    }
    expectClean(gateway);
  });
}

function testRefusals({ subject, port, open, ended }: Rig): void {
  test("finish without input ends empty", async () => {
    const sink = recorder();
    port().open(open(), sink).finish();
    expect((await ended(sink)).kind).toBe("empty");
    expect(sink.chunks).toEqual([]);
  });

  test("a setting of the wrong type is refused by name, without its value", async () => {
    const { name, value } = subject.badSetting;
    for (const [field, bad] of [
      [name, value],
      ["anything", { secret: 1 } as unknown as SettingValue],
    ] as const) {
      const sink = recorder();
      const invocation = port().open(open({ settings: { ...subject.settings, [field]: bad } }), sink);
      subject.feed(invocation);
      invocation.finish();
      const outcome = await ended(sink);
      expect(outcome.kind).toBe("error");
      expect(outcome.detail).toContain(`\`${field}\``);
      expect(outcome.detail).not.toContain("secret");
      expect(sink.chunks).toEqual([]);
    }
  });
}

/** Lets what is due now happen. */
async function settle(clock: ManualClock): Promise<void> {
  clock.advance(60_000);
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
}

function checkChunks(sink: Recorder): void {
  let revision = -1;
  for (const chunk of sink.chunks) {
    if (chunk.kind === "text") {
      expect(chunk.revision).toBeGreaterThan(revision);
      revision = chunk.revision;
    } else if (chunk.kind === "audio") {
      expect(chunk.format).toEqual({ codec: "pcm_s16le", rateHz: 16_000, channels: 1 });
      expect(chunk.bytes.length).toBe(640);
      expect(chunk.durationUs).toBe(20_000);
    }
  }
}

/** The provider itself kept its promises; the gateway had nothing to refuse. */
function expectClean(gateway: ProviderGateway): void {
  expect(gateway.counters()).toMatchObject({ chunksAfterTerminal: 0, outcomesAfterTerminal: 0, threw: 0 });
}
