import type { Invocation, InvocationSink, Provider } from "@rspp/ports/provider";
import { expect, test } from "vitest";
import { AuthorityTable } from "./authority-table.ts";
import { createProviderGateway } from "./gateway.ts";
import { isPocketsphinxAvailable } from "./local/pocketsphinx.ts";
import { createProviders } from "./providers.ts";
import { ManualClock } from "./testing/clocks.ts";
import { recorder, request } from "./testing/recorder.ts";

const text = { kind: "text", text: "a", segment: 0, revision: 0, final: true } as const;

function fake(open: (sink: InvocationSink) => Partial<Invocation>): Provider {
  return {
    name: "test/llm",
    modality: "llm",
    open: (_request, sink) => ({ push: () => {}, finish: () => {}, cancel: () => {}, ...open(sink) }),
  };
}

function setUp(provider: Provider) {
  const clock = new ManualClock();
  return { clock, gateway: createProviderGateway({ clock, providers: [provider] }), sink: recorder() };
}

const open = request({ modality: "llm", provider: "test/llm" });

test("F-055 one outcome; chunks and outcomes after it are refused and counted", () => {
  const { gateway, sink } = setUp(
    fake((out) => ({
      finish: () => {
        out.chunk(text);
        out.outcome({ kind: "success", detail: "" });
        out.chunk(text);
        out.outcome({ kind: "error", detail: "" });
      },
    })),
  );
  const invocation = gateway.open(open, sink);
  invocation.finish();
  invocation.finish();
  invocation.push({ kind: "messages", messages: [] });
  invocation.cancel("late");
  expect(sink.chunks.length).toBe(1);
  expect(sink.outcomes).toEqual([{ kind: "success", detail: "" }]);
  expect(gateway.counters()).toMatchObject({ chunksAfterTerminal: 1, outcomesAfterTerminal: 1, opened: 1 });
});

test("F-055 a cancel is answered at once even when the provider ignores it", () => {
  const late: (() => void)[] = [];
  const { gateway, sink } = setUp(
    fake((out) => {
      late.push(() => out.chunk(text));
      return {};
    }),
  );
  gateway.open(open, sink).cancel("barge_in");
  expect(sink.outcomes.map((o) => o.kind)).toEqual(["cancelled"]);
  for (const send of late) send();
  expect(sink.chunks).toEqual([]);
  expect(gateway.counters().chunksAfterTerminal).toBe(1);
});

test("an exception of a provider becomes the outcome error", () => {
  for (const at of ["open", "push", "finish"] as const) {
    const { gateway, sink } = setUp(
      fake(() => {
        const boom = () => {
          throw new Error("boom");
        };
        if (at === "open") boom();
        return { [at]: boom };
      }),
    );
    const invocation = gateway.open(open, sink);
    invocation.push({ kind: "messages", messages: [] });
    invocation.finish();
    expect(sink.outcomes.map((o) => o.kind)).toEqual(["error"]);
    expect(gateway.counters().threw).toBe(1);
  }
});

test("F-055 a provider that throws is cancelled, once, whatever its cancel does", () => {
  for (const at of ["push", "finish"] as const) {
    const cancels: string[] = [];
    const { gateway, sink } = setUp(
      fake((out) => ({
        [at]: () => {
          throw new Error("boom");
        },
        cancel: (reason) => {
          cancels.push(reason);
          out.outcome({ kind: "cancelled", detail: reason });
          throw new Error("boom again");
        },
      })),
    );
    const invocation = gateway.open(open, sink);
    invocation.push({ kind: "messages", messages: [] });
    invocation.finish();
    invocation.cancel("late");
    expect(cancels).toEqual(["the provider threw an exception"]);
    expect(sink.outcomes.map((o) => o.kind)).toEqual(["error"]);
    expect(gateway.counters()).toMatchObject({ threw: 2, outcomesAfterTerminal: 1 });
  }
});

test("F-055 a cancel that throws is not asked again; a provider that throws after its outcome is cancelled too", () => {
  let cancels = 0;
  const boom = (): void => {
    cancels++;
    throw new Error("boom");
  };
  const first = setUp(fake(() => ({ cancel: boom })));
  first.gateway.open(open, first.sink).cancel("barge_in");
  expect([cancels, first.sink.outcomes.map((o) => o.kind)]).toEqual([1, ["error"]]);
  const second = setUp(
    fake((out) => ({
      push: () => {
        out.outcome({ kind: "success", detail: "" });
        throw new Error("boom");
      },
      cancel: () => void cancels++,
    })),
  );
  second.gateway.open(open, second.sink).push({ kind: "messages", messages: [] });
  expect([cancels, second.sink.outcomes.map((o) => o.kind)]).toEqual([2, ["success"]]);
});

test("an unknown provider, a wrong modality and a closed gateway end in an error that says so", async () => {
  const { gateway, clock } = setUp(fake(() => ({})));
  const detailOf = (over: Partial<typeof open>) => {
    const sink = recorder();
    gateway.open({ ...open, ...over }, sink);
    expect(sink.outcomes).toEqual([]);
    clock.advance(0);
    expect(sink.outcomes.map((o) => o.kind)).toEqual(["error"]);
    return sink.outcomes[0]!.detail;
  };
  expect(detailOf({ provider: "nobody" })).toContain("known: test/llm");
  expect(detailOf({ modality: "tts" })).toContain("serves llm");
  expect(gateway.providers()).toEqual(["test/llm"]);
  const running = recorder();
  gateway.open(open, running);
  await gateway.close();
  expect(running.outcomes.map((o) => o.kind)).toEqual(["cancelled"]);
  expect(detailOf({})).toContain("closed");
  expect(() => createProviderGateway({ clock, providers: [fake(() => ({})), fake(() => ({}))] })).toThrow(TypeError);
});

test("a provider that cannot serve here is not listed", () => {
  const clock = new ManualClock();
  const gateway = createProviderGateway({ clock, providers: [{ ...fake(() => ({})), available: () => false }] });
  expect(gateway.providers()).toEqual([]);
});

test("a lower epoch of a session and a lower generation of a turn are refused", () => {
  const { gateway, clock } = setUp(fake(() => ({})));
  const outcomeOf = (over: Partial<typeof open>) => {
    const sink = recorder();
    gateway.open({ ...open, ...over }, sink);
    clock.advance(0);
    return sink.outcomes[0]?.detail.split(":")[0];
  };
  expect(outcomeOf({ epoch: 3, turn: 2, generation: 2 })).toBeUndefined();
  expect(outcomeOf({ epoch: 2, turn: 3 })).toBe("stale_epoch");
  expect(outcomeOf({ epoch: 3, turn: 2, generation: 1 })).toBe("stale_fence");
  expect(outcomeOf({ epoch: 3, turn: 1, generation: 1 })).toBeUndefined();
  expect(outcomeOf({ epoch: 3, turn: 0, generation: 0 })).toBeUndefined();
  expect(outcomeOf({ epoch: 1, sessionId: "other" })).toBeUndefined();
  expect(gateway.counters()).toMatchObject({ refusedStaleEpoch: 1, refusedStaleFence: 1 });
});

test("the authority table is bounded", () => {
  const table = new AuthorityTable(3);
  for (let i = 0; i < 10; i++) table.admit({ sessionId: `s${i}`, epoch: 5, turn: i, generation: 1 });
  expect(table.size).toBe(3);
  expect(table.admit({ sessionId: "s9", epoch: 4, turn: 0, generation: 0 })).toBe("stale_epoch");
  for (let turn = 1; turn < 50; turn++) table.admit({ sessionId: "s9", epoch: 5, turn, generation: 2 });
  expect(table.admit({ sessionId: "s9", epoch: 5, turn: 49, generation: 1 })).toBe("stale_fence");
});

test("the shipped providers are listed by name where they can serve, and warm up and close", async () => {
  const clock = new ManualClock();
  const gateway = createProviderGateway({ clock, providers: createProviders({ clock }) });
  const always = ["local/flite", "local/responder", "local/phrasebook", "sim/stt", "sim/llm", "sim/tts"];
  expect(gateway.providers()).toEqual(expect.arrayContaining(always));
  expect(gateway.providers().includes("local/pocketsphinx")).toBe(isPocketsphinxAvailable());
  await gateway.warm();
  await gateway.close();
});
