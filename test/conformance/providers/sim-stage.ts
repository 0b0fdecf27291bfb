/** Providers that fail by themselves, as the suite's stage has it: fault and script become settings of the next call. */
import type { SettingValue } from "@rspp/ports/provider";
import type { ManagedProvider } from "@rspp/provider-gateway/attempt";
import { type FakeAnswer, FakeState, type Fault } from "../../fakes/fake.ts";
import type { Stage } from "./suite.ts";

const simNames: Readonly<Partial<Record<Fault, string>>> = { timeout_before: "timeout" };

/** A `sim` provider. */
export function simStage(provider: ManagedProvider): Stage {
  const state = new FakeState();
  return {
    provider: {
      ...provider,
      open(request, sink) {
        const fault = state.takeFault();
        const settings = { ...request.settings, ...scripted(state.answer), fault: simNames[fault] ?? fault };
        return provider.open({ ...request, settings }, sink);
      },
    },
    fault: (kind, calls) => state.fault(kind, calls),
    script: (answer) => state.script(answer),
    close: () => Promise.resolve(),
  };
}

/** A provider that always answers. */
export function plainStage(provider: ManagedProvider): Stage {
  return { provider, fault: () => {}, script: () => {}, close: () => Promise.resolve() };
}

function scripted({ transcript, reply, toolCalls = [], chunkMs = 0 }: FakeAnswer): Record<string, SettingValue> {
  return {
    chunk_ms: chunkMs,
    ...(transcript === undefined ? {} : { transcripts: [transcript] }),
    ...(reply === undefined ? {} : { text: reply }),
    ...(toolCalls.length === 0 ? {} : { tool_calls: toolCalls.map((call) => `${call.name} ${call.arguments}`) }),
  };
}
