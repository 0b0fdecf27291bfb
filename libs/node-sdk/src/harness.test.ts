import { describe, expect, test } from "vitest";
import { audioBody, openHarness, textBody } from "./harness.ts";
import { defineNode, type NodeLogic, NodeStateRefused } from "./node-api.ts";

const text = [{ name: "text", type: "text" }] as const;

function node(logic: NodeLogic | (() => NodeLogic), over: Partial<Parameters<typeof defineNode>[0]> = {}) {
  const create = typeof logic === "function" ? logic : () => logic;
  return defineNode({ name: "own", version: "1.0.0", scope: "turn", inputs: text, outputs: text, create, ...over });
}

const shout = node({
  onEvent({ body, emit }) {
    if (body.type === "text") emit("text", { ...body, text: body.text.toUpperCase() });
  },
});

describe("F-128 the test harness", () => {
  test("events in, events out, ends in order; a replay without the node is the same run", async () => {
    const h = await openHarness(shout);
    await h.send("text", textBody("good morning"));
    await h.send("text", textBody("to you"));
    expect(h.texts("text")).toEqual(["GOOD MORNING", "TO YOU"]);
    await h.end();
    expect(h.emitted.at(-1)?.body.type).toBe("end");
    await h.close();
    expect(h.signals("node_error")).toEqual([]);
    expect(h.replayIdentical()).toBe(true);
  });

  test("F-012 init, start and stop run once each, in order, for each instance", async () => {
    const log: string[] = [];
    const h = await openHarness(
      node(() => {
        log.push("create");
        return {
          init: () => void log.push("init"),
          start: () => void log.push("start"),
          onEvent: ({ body }) => void log.push(body.type),
          stop: (reason) => void log.push(`stop ${reason}`),
        };
      }),
    );
    await h.send("text", textBody("a"));
    await h.cancel();
    await h.openTurn();
    await h.end();
    await h.close();
    const once = ["create", "init", "start"];
    expect(log).toEqual([...once, "text", "stop user_cancel", ...once, "end", "stop session_ended"]);
  });

  test("virtual time: a node that waits is awaited; one that waits too long is told, cancelled and named", async () => {
    const slow = (ms: number) =>
      node({
        async onEvent({ body, sleep, emit, budgetLeftMs }) {
          await sleep(ms);
          if (body.type === "text") emit("text", { ...body, text: `${Math.round(budgetLeftMs())} left` });
        },
      });
    const h = await openHarness(slow(300), { limits: { eventTimeoutMs: 400 } });
    await h.send("text", textBody("a"));
    expect(h.texts()).toEqual([]);
    await h.advance(299);
    expect(h.texts()).toEqual([]);
    await h.advance(1);
    expect(h.texts()).toEqual(["100 left"]);
    const late = await openHarness(node({ onEvent: () => new Promise<void>(() => undefined) }), {
      limits: { eventTimeoutMs: 400 },
    });
    await late.send("text", textBody("a"));
    await late.advance(474);
    expect(late.signals("node_error")).toEqual([]);
    await late.advance(1);
    expect(late.signals("node_error")).toEqual(["node_error#1(node_timeout)"]);
    expect(late.signals("abort")).toEqual(["abort#1(node_timeout_or_failure)"]);
    expect(late.replayIdentical()).toBe(true);
  });

  test("F-036 a node that looks at its cancel token stops and acknowledges; hooks are called", async () => {
    const log: string[] = [];
    const h = await openHarness(
      node({
        async onEvent({ cancel, sleep }) {
          for (let round = 0; ; round++) {
            await sleep(10);
            if (cancel.cancelled) log.push(`after ${round} rounds: ${cancel.reason}`);
            cancel.check();
          }
        },
        onCancel: (reason) => void log.push(`onCancel ${reason}`),
        onBargeIn: () => void log.push("onBargeIn"),
        stop: () => void log.push("stop"),
      }),
    );
    await h.send("text", textBody("a"));
    await h.advance(35);
    await h.bargeIn();
    expect(log).toEqual(["onBargeIn", "onCancel barge_in", "after 3 rounds: barge_in", "stop"]);
    expect(h.signals("cancel_ack")).toEqual(["cancel_ack(cancelled)"]);
    expect(h.signals("degraded")).toEqual([]);
  });

  test("F-037 a node that ignores its cancel is ended after the grace, and what it says then is nobody's", async () => {
    const h = await openHarness(
      node({
        async onEvent({ emit, body }) {
          await new Promise<void>(() => undefined);
          emit("text", body);
        },
      }),
    );
    await h.send("text", textBody("a"));
    await h.cancel();
    await h.advance(75);
    expect(h.signals("node_stopped")).toEqual(["node_stopped(cancel_ignored)"]);
    expect(h.signals("degraded")).toEqual(["degraded(cancel_ignored)"]);
  });

  test("onBudgetExhausted may bring an event to its end within the grace", async () => {
    let answer = (): void => undefined;
    const h = await openHarness(
      node({
        onEvent: ({ body, emit }) =>
          body.type === "text"
            ? new Promise<void>((resolve) => {
                answer = () => {
                  emit("text", { ...body, text: "short" });
                  resolve();
                };
              })
            : undefined,
        onBudgetExhausted: () => answer(),
      }),
      { limits: { eventTimeoutMs: 200 } },
    );
    await h.send("text", textBody("a"));
    await h.advance(200);
    expect(h.texts()).toEqual(["short"]);
    expect(h.signals("node_error")).toEqual([]);
  });

  test.each([
    [
      "init",
      { init: () => Promise.reject(new Error("no")), onEvent: (): void => undefined },
      "node_error#1(init_failed)",
    ],
    [
      "onEvent",
      {
        onEvent: (): never => {
          throw new Error("no");
        },
      },
      "node_error#1(threw)",
    ],
    [
      "stop",
      {
        onEvent: (): void => undefined,
        stop: (): never => {
          throw new Error("no");
        },
      },
      "node_error(stop_failed)",
    ],
  ])("F-012 what throws in %s is a named error", async (_, logic, error) => {
    const h = await openHarness(node(logic as NodeLogic));
    await h.send("text", textBody("a"));
    await h.close();
    expect(h.signals("node_error")).toEqual([error]);
    expect(JSON.stringify(h.telemetry)).not.toContain('"no"');
  });

  test("a hook that hangs ends in a named error and an orderly shutdown", async () => {
    const h = await openHarness(node({ onEvent: () => undefined, stop: () => new Promise<void>(() => undefined) }));
    await h.close();
    expect(h.signals("node_error")).toEqual(["node_error(stop_timeout)"]);
    expect(h.replayIdentical()).toBe(true);
    const stuck = await openHarness(node({ init: () => new Promise<void>(() => undefined), onEvent: () => undefined }));
    await stuck.advance(4_100);
    expect(stuck.signals("node_error")).toEqual(["node_error#1(init_timeout)"]);
  });

  test("audio of the session; the same seed, the same random numbers", async () => {
    const noisy = defineNode({
      name: "noise",
      version: "1.0.0",
      scope: "session",
      purity: "pure",
      inputs: [{ name: "audio", type: "audio" }],
      outputs: [{ name: "audio", type: "audio" }],
      create: (context) => ({
        onEvent({ body, emit }) {
          context.metric("drawn", context.random());
          emit("audio", body);
        },
      }),
    });
    const run = async (seed: string) => {
      const h = await openHarness(noisy, { seed });
      await h.send("audio", audioBody([1, 2, 3], 40_000));
      expect(h.emitted.map(({ body }) => body)).toMatchObject([{ type: "audio", mediaUs: 40_000 }]);
      return h.telemetry;
    };
    expect(await run("a")).toEqual(await run("a"));
    expect(await run("a")).not.toEqual(await run("b"));
  });
});

describe("F-155 the state handle", () => {
  const counting = (over: object) =>
    node(() => ({ onEvent: () => undefined }), {
      create: (context) => ({
        onEvent({ body, emit }) {
          if (body.type !== "text") return;
          const store = body.text === "session" ? context.state.session : context.state.turn;
          const count = Number(store.get("n") ?? 0) + 1;
          store.set("n", count);
          emit("text", { ...body, text: `${body.text} ${count}` });
        },
      }),
      ...over,
    });

  test("turn state goes with its turn, session-hot state stays", async () => {
    const h = await openHarness(counting({ state: "session_hot" }));
    for (const turn of [1, 2]) {
      if (turn === 2) await h.openTurn();
      for (const which of ["turn", "turn", "session"]) await h.send("text", textBody(which));
      await h.cancel();
    }
    expect(h.texts()).toEqual(["turn 1", "turn 2", "session 1", "turn 1", "turn 2", "session 2"]);
  });

  test("a session-scoped node cannot reach turn state, and none is kept that was not declared", async () => {
    const refused: unknown[] = [];
    const asking = (state: "none" | "session_hot", scope: "session" | "turn", which: "turn" | "session") =>
      openHarness(
        defineNode({
          name: "own",
          version: "1.0.0",
          scope,
          state,
          inputs: [{ name: "audio", type: "audio" }],
          outputs: [],
          create: (context) => ({
            onEvent() {
              try {
                context.state[which].set("a", 1);
              } catch (error) {
                refused.push(error);
              }
            },
          }),
        }),
      ).then((h) => h.send("audio", audioBody([0])));
    await asking("session_hot", "session", "turn");
    await asking("none", "turn", "session");
    await asking("none", "turn", "turn");
    expect(refused).toHaveLength(3);
    expect(refused.every((error) => error instanceof NodeStateRefused)).toBe(true);
    await asking("session_hot", "session", "session");
    expect(refused).toHaveLength(3);
  });
});

test("defineNode names what is wrong", () => {
  const make = (over: object) => () => node({ onEvent: () => undefined }, over);
  expect(make({ name: "Own" })).toThrow("name must be lower-case");
  expect(make({ version: "1" })).toThrow("version must be major.minor.patch");
  expect(make({ inputs: [] })).toThrow("inputs must have a port");
  expect(make({ outputs: [...text, ...text] })).toThrow("outputs must have unlike names");
});
