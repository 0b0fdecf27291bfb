/** One invocation of a provider behind a gateway, fed with what its kind takes. */
import { nsToMs } from "@rspp/base/brand";
import type { Clock } from "@rspp/ports/clock";
import type { ChatMessage, Invocation, InvocationOutcome, SettingValue, ToolOffer } from "@rspp/ports/provider";
import { createProviderGateway, type ProviderGateway } from "@rspp/provider-gateway/gateway";
import { type Recorder, recorder, request } from "@rspp/provider-gateway/testing/recorder";
import { expect } from "vitest";
import { type FakeCall, tonePcm } from "../../fakes/fake.ts";
import type { ProviderSubject, Stage } from "./suite.ts";

const rateHz = 16_000;
const frameBytes = 640;
const format = { codec: "pcm_s16le", rateHz, channels: 1 } as const;

/** Words that nothing told of a failure may hold. */
export const PLANTED = "zanzibar quicksilver";

let count = 0;

export class Conversation {
  readonly subject: ProviderSubject;
  readonly gateway: ProviderGateway;
  readonly sink: Recorder;
  readonly #stage: Stage;
  readonly #clock: Clock;
  readonly #streaming: boolean;
  readonly #callsBefore: number;
  #invocation: Invocation | undefined;
  settings: Record<string, SettingValue> = {};

  constructor(subject: ProviderSubject, stage: Stage, clock: Clock, streaming: boolean) {
    this.subject = subject;
    this.#stage = stage;
    this.#clock = clock;
    this.#streaming = streaming;
    this.#callsBefore = stage.fake?.calls.length ?? 0;
    this.gateway = createProviderGateway({ clock, providers: [stage.provider] });
    this.sink = recorder();
  }

  /** Opens it, once. */
  get invocation(): Invocation {
    if (this.#invocation !== undefined) return this.#invocation;
    count += 1;
    const { name, modality } = this.subject;
    const settings = {
      streaming: this.#streaming,
      connect_timeout_ms: 400,
      stall_ms: 400,
      ...this.subject.settings,
      ...this.settings,
    };
    const ids = { invocationId: `inv-${count}`, sessionId: `session-${count}`, idempotencyKey: `key-${count}` };
    this.#invocation = this.gateway.open(
      request({ modality, provider: name, settings, attemptTimeoutMs: 400, ...ids }),
      this.sink,
    );
    return this.#invocation;
  }

  /** What its kind takes, ordinary in size. */
  feed(text = this.subject.input?.text ?? `What of ${PLANTED}?`): this {
    if (this.subject.modality === "stt") this.hear(this.subject.input?.audio ?? tonePcm(1_000, rateHz));
    else if (this.subject.modality === "tts") this.invocation.push({ kind: "text", text, segment: 0 });
    else this.ask([{ role: "user", text }]);
    return this;
  }

  hear(pcm: Uint8Array): this {
    for (let at = 0; at < pcm.length; at += frameBytes) {
      const bytes = pcm.subarray(at, at + frameBytes);
      this.invocation.push({ kind: "audio", bytes, format, durationUs: (bytes.length * 1_000) / 32 });
    }
    return this;
  }

  ask(messages: readonly ChatMessage[], tools?: readonly ToolOffer[]): this {
    this.invocation.push(tools === undefined ? { kind: "messages", messages } : { kind: "messages", messages, tools });
    return this;
  }

  finish(): this {
    this.invocation.finish();
    return this;
  }

  /** The outcome; fails the test when none comes in time. */
  async outcome(withinMs = 10_000): Promise<InvocationOutcome> {
    const outcome = await Promise.race([this.sink.ended, after(withinMs).then(() => undefined)]);
    if (outcome === undefined) throw new Error(`${this.subject.name}: no outcome within ${withinMs} ms`);
    expect(outcome.detail, "the detail holds what it may not").not.toMatch(/zanzibar|quicksilver/i);
    const key = this.#stage.fake?.key ?? "";
    if (key !== "") expect(outcome.detail).not.toContain(key);
    return outcome;
  }

  /** Calls that reached the vendor since it was opened. */
  calls(): readonly FakeCall[] {
    return this.#stage.fake?.calls.slice(this.#callsBefore) ?? [];
  }

  async until(holds: () => boolean, what: string, withinMs = 10_000): Promise<void> {
    const endMs = nsToMs(this.#clock.nowNs()) + withinMs;
    while (!holds()) {
      if (nsToMs(this.#clock.nowNs()) > endMs) throw new Error(`${this.subject.name}: waited in vain for ${what}`);
      await after(2);
    }
  }

  /** Waits a little for what may not come, then for the vendor's calls to be closed. */
  async quiet(): Promise<void> {
    const { length } = this.sink.chunks;
    await this.until(
      () => this.calls().every(({ closedMs }) => closedMs !== undefined),
      "the vendor's call to be closed",
    );
    await after(20);
    expect(this.sink.outcomes.length).toBe(1);
    expect(this.sink.chunks.length).toBe(length);
  }
}

export const after = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
