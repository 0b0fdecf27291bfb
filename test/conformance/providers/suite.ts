/**
 * The same questions to every provider adapter, streaming and not (F-055, F-160): answers, partials, cancel in each phase,
 * each class of error, data after the end, unicode, long input, no input. A vendor's adapter is asked against the vendor's
 * fake; what is told of a failure never holds key, prompt or transcript.
 */
import type { Clock } from "@rspp/ports/clock";
import type { Modality, SettingValue } from "@rspp/ports/provider";
import type { ManagedProvider } from "@rspp/provider-gateway/attempt";
import { systemClock } from "@rspp/provider-gateway/testing/clocks";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { type Fake, type FakeAnswer, type Fault, faults } from "../../fakes/fake.ts";
import { testAnswers } from "./answers.ts";
import { testCancels } from "./cancels.ts";
import { Conversation } from "./conversation.ts";
import { testFailures } from "./failures.ts";

/** A provider as it stands for the suite: behind its fake, or one that fails as told by itself. */
export interface Stage {
  readonly provider: ManagedProvider;
  fault(kind: Fault, calls?: number): void;
  script(answer: FakeAnswer): void;
  /** Absent: nothing outside this process is asked. */
  readonly fake?: Fake;
  close(): Promise<void>;
}

export interface ProviderSubject {
  /** E.g. `deepgram/stt`. */
  readonly name: string;
  readonly modality: Modality;
  /** Starts the vendor's fake; with `open`. */
  readonly fake?: () => Promise<Fake>;
  /** The adapter over that fake, with its URL and key. */
  readonly open?: (fake: Fake, clock: Clock) => ManagedProvider | Promise<ManagedProvider>;
  /** In place of both. */
  readonly stage?: (clock: Clock) => Stage | Promise<Stage>;
  /** Besides the suite's own `streaming`, `connect_timeout_ms` and `stall_ms`. */
  readonly settings?: Readonly<Record<string, SettingValue>>;
  /** Default both. */
  readonly modes?: readonly ("streaming" | "whole")[];
  /** Those that can befall it; default all. */
  readonly faults?: readonly Fault[];
  /** False: it says what it says, whatever the script. Default true. */
  readonly scripted?: boolean;
  /** STT: false where no partials come even in streaming. Default true. */
  readonly partials?: boolean;
  /** STT: true where it is asked only when the utterance has ended, in streaming too. */
  readonly gathers?: true;
  /** STT: the language it is asked to hear; checked on its finals where given. */
  readonly language?: string;
  /** LLM: false where tools are not offered. Default true. */
  readonly tools?: boolean;
  /** STT: the input to hear; default a second of tone. LLM and TTS: the words to answer or to speak. */
  readonly input?: { readonly audio?: Uint8Array; readonly text?: string };
  /** Real time that `timeout` faults may take at most. Default 3000. */
  readonly patienceMs?: number;
}

/** Declares the suite of one provider. */
export function describeProvider(subject: ProviderSubject): void {
  for (const mode of subject.modes ?? (["streaming", "whole"] as const)) {
    describe(`F-055 F-160 ${subject.name}, ${mode}`, () => {
      const clock = systemClock();
      const holder: { stage?: Stage } = {};
      const stage = (): Stage => holder.stage as Stage;
      const open = (): Conversation => new Conversation(subject, stage(), clock, mode === "streaming");
      beforeAll(async () => {
        holder.stage = await stageOf(subject, clock);
        await holder.stage.provider.warm?.();
      });
      afterAll(async () => {
        await holder.stage?.provider.close?.();
        await holder.stage?.close();
      });
      afterEach(() => {
        holder.stage?.fault("none");
        expect(holder.stage?.fake?.violations ?? []).toEqual([]);
      });
      const rig: SuiteRig = { subject, streaming: mode === "streaming", stage, open };
      testAnswers(rig);
      testCancels(rig);
      testFailures(rig, new Set(subject.faults ?? faults));
      test("it says its own name and kind", () => {
        expect([stage().provider.name, stage().provider.modality]).toEqual([subject.name, subject.modality]);
      });
    });
  }
}

export interface SuiteRig {
  readonly subject: ProviderSubject;
  readonly streaming: boolean;
  stage(): Stage;
  /** An invocation, opened now. */
  open(): Conversation;
}

async function stageOf(subject: ProviderSubject, clock: Clock): Promise<Stage> {
  if (subject.stage !== undefined) return subject.stage(clock);
  if (subject.fake === undefined || subject.open === undefined)
    throw new TypeError("either `stage`, or `fake` and `open`");
  const fake = await subject.fake();
  const provider = await subject.open(fake, clock);
  return {
    provider,
    fake,
    fault: (kind, calls) => fake.fault(kind, calls),
    script: (answer) => fake.script(answer),
    close: () => fake.close(),
  };
}
