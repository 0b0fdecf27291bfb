/** The Realtime endpoint event by event, over a session by hand: who is refused and how, formats, what was heard, fences. */
import type { Result } from "@rspp/base/result";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Event, type PlainClient, pcm24, plainClient } from "./realtime-rig.ts";
import { type FakeSession, openFake, settableClock, tokenOf, until, type WsRig } from "./websocket-rig.ts";

let rig: WsRig;
let routed: WsRig;
const asked: { key: string; model: string }[] = [];
const warned: string[] = [];

beforeAll(async () => {
  rig = await openFake({ warn: (_fields, text) => void warned.push(text) });
  routed = await openFake({
    realtimeRoutes: async (ask): Promise<Result<string, { reason: string; remedy: string }>> => {
      asked.push(ask);
      return ask.key === "operator"
        ? { ok: true, value: tokenOf("routed") }
        : { ok: false, error: { reason: "permission_denied", remedy: "Ask for the role operator." } };
    },
  });
});

afterAll(async () => {
  await Promise.all([rig.transport.close(), routed.transport.close()]);
});

async function opened(id: string): Promise<{ client: PlainClient; session: FakeSession }> {
  const client = plainClient(rig, tokenOf(id));
  await until(() => client.of("session.created").length === 1, "session.created");
  return { client, session: rig.session(id) };
}

const errorOf = (event: Event | undefined) => (event as unknown as { error: Record<string, unknown> }).error;
const update = (audio: unknown): Event => ({ type: "session.update", session: { type: "realtime", audio } });

/** One event, and the error that answers it. */
async function refused(client: PlainClient, event: Event | string): Promise<Record<string, unknown>> {
  const before = client.of("error").length;
  client.send(event);
  await until(() => client.of("error").length > before, "the error");
  return errorOf(client.of("error").at(-1));
}

describe.concurrent("who comes in", () => {
  test.each([
    ["no key", null, {}, 4401, "invalid_api_key"],
    ["an altered token", "bad", {}, 4401, "invalid_api_key"],
    ["an expired token", tokenOf("late", -1_000), {}, 4401, "invalid_api_key"],
    ["the beta shape", tokenOf("beta"), { headers: { "openai-beta": "realtime=v1" } }, 4400, "beta_api_shape_disabled"],
    ["a transcription session", tokenOf("intent"), { query: "?intent=transcription" }, 4400, "invalid_value"],
  ])("F-086 F-088 %s is refused in an error event, and by its close code", async (_what, key, options, code, name) => {
    const client = plainClient(rig, key, options);
    await until(() => client.closed.length > 0, "the end");
    expect(client.events).toHaveLength(1);
    expect(errorOf(client.events[0])).toMatchObject({ type: "invalid_request_error", code: name });
    expect(client.closed[0]?.code).toBe(code);
    expect(client.closed[0]?.reason).toContain(`invalid_request_error.${name}: `);
    expect(JSON.stringify([client.events, client.closed])).not.toContain("good:");
  });

  test("F-088 a browser's key in the subprotocol; another model is passed over, told in session.created and the log", async () => {
    const token = Buffer.from(tokenOf("browser")).toString("base64url");
    const decoding = await openFake({
      verifier: {
        verify: async (key) => ({ ok: true, value: JSON.parse(Buffer.from(key, "base64url").toString().slice(5)) }),
      },
      warn: (_fields, text) => void warned.push(text),
    });
    const protocols = ["realtime", `openai-insecure-api-key.${token}`];
    const client = plainClient(decoding, null, { protocols, query: "?model=gpt-realtime" });
    await until(() => client.of("session.created").length === 1, "session.created");
    expect(client.of("session.created")[0]).toMatchObject({
      session: { model: "voice-assistant@1", type: "realtime" },
    });
    expect(warned).toContain("a Realtime client asked for another model than its token admits to");
    client.close();
    await until(() => decoding.session("browser").signals().includes("ended"), "the end");
    await decoding.transport.close();
  });

  test("F-088 url, key and model alone: a route is asked for with the caller's own key, and refused as the registry refuses", async () => {
    const good = plainClient(routed, "operator", { query: "?model=voice-assistant" });
    await until(() => good.of("session.created").length === 1, "session.created");
    const bad = plainClient(routed, "viewer", { query: "?model=voice-assistant" });
    await until(() => bad.closed.length > 0, "the refusal");
    expect(errorOf(bad.events[0])).toMatchObject({ code: "permission_denied" });
    expect(bad.closed[0]?.code).toBe(4403);
    expect(asked).toEqual([
      { key: "operator", model: "voice-assistant" },
      { key: "viewer", model: "voice-assistant" },
    ]);
    good.close();
  });

  test("a token admits once; a second connection with it is refused", async () => {
    const { client } = await opened("once");
    const again = plainClient(rig, tokenOf("once"));
    await until(() => again.closed.length > 0, "the refusal");
    expect([again.closed[0]?.code, errorOf(again.events[0]).code]).toEqual([4403, "already_exists"]);
    client.close();
  });
});

describe.concurrent("events of the client", () => {
  test("F-086 what is wrong is told with field and event id, changes nothing, and the session goes on", async () => {
    const { client, session } = await opened("wrong");
    const wrong: [Event, string, string | null][] = [
      [{ type: "input_audio_buffer.append", audio: "*" }, "invalid_value", "audio"],
      [{ type: "input_audio_buffer.append", audio: "AA==" }, "invalid_value", "audio"],
      [{ type: "input_audio_buffer.commit" }, "input_audio_buffer_commit_empty", null],
      [update({ input: { format: { type: "audio/opus" } } }), "invalid_value", "session.audio.input.format"],
      [
        update({ output: { format: { type: "audio/pcm", rate: 8_000 } } }),
        "invalid_value",
        "session.audio.output.format.rate",
      ],
      [
        { type: "session.update", session: { type: "realtime", tools: [{ type: "function", name: "f" }] } },
        "tools_not_supported",
        "session.tools",
      ],
      [{ type: "session.update", session: { sound: 1 } }, "unknown_parameter", "session.sound"],
      [
        { type: "conversation.item.create", item: { type: "function_call_output", call_id: "c", output: "" } },
        "tools_not_supported",
        "item.type",
      ],
      [
        { type: "conversation.item.create", item: { type: "message", role: "user", content: [] } },
        "item_create_not_supported",
        "item.type",
      ],
      [
        { type: "conversation.item.truncate", item_id: "x", content_index: 0, audio_end_ms: 1.5 },
        "invalid_value",
        "audio_end_ms",
      ],
      [{ type: "conversation.item.retrieve", item_id: "x" }, "item_not_found", "item_id"],
      [{ type: "conversation.item.delete" }, "missing_required_parameter", "item_id"],
      [{ type: "response.create" }, "nothing_to_answer", null],
      [{ type: "response.cancel" }, "response_cancel_not_active", null],
      [{ type: "response.make" }, "invalid_value", "type"],
    ];
    for (const [n, [event, code, param]] of wrong.entries()) {
      const error = await refused(client, { ...event, event_id: `mine-${n}` });
      expect(error, event.type).toMatchObject({ type: "invalid_request_error", code, param, event_id: `mine-${n}` });
    }
    expect(session.audio()).toEqual([]);
    client.send({ type: "input_audio_buffer.append", audio: pcm24(200, true).toString("base64") });
    await until(() => session.audio().length >= 8, "the sound");
    client.close();
    await until(() => session.signals().includes("ended"), "the end");
  });

  test("F-086 garbage again and again, and a binary message, end the connection with code and reason", async () => {
    const { client, session } = await opened("garbage");
    for (let i = 0; i < 16; i++) client.send("{");
    await until(() => client.closed.length > 0, "the end");
    expect(client.closed[0]).toMatchObject({ code: 4400, reason: expect.stringContaining("invalid_json") });
    await until(() => session.signals().includes("ended"), "the end of the session");
    const { client: other } = await opened("binary");
    other.send(Buffer.from([1, 2]));
    await until(() => other.closed.length > 0, "the end");
    expect(other.closed[0]).toMatchObject({ code: 1003, reason: expect.stringContaining("binary") });
  });

  test("F-042 a commit in which nothing is found is told as such; response.create has nothing to answer then", async () => {
    const clock = settableClock();
    const own = await openFake({ clock });
    const client = plainClient(own, tokenOf("nothing"));
    await until(() => client.of("session.created").length === 1, "session.created");
    client.send({ type: "input_audio_buffer.append", audio: pcm24(200, false).toString("base64") });
    client.send({ type: "input_audio_buffer.commit" });
    client.send({ type: "response.create" });
    await until(() => own.session("nothing").signals().includes("end_of_utterance"), "the end of the utterance");
    own.transport.sweep();
    expect(client.of("error")).toEqual([]);
    clock.setOn(9_000);
    own.transport.sweep();
    await until(() => client.events.at(-1)?.type.endsWith("transcription.failed") === true, "the failure");
    expect(client.events.at(-1)).toMatchObject({ error: { code: "no_speech_found" } });
    expect(await refused(client, { type: "response.create" })).toMatchObject({ code: "nothing_to_answer" });
    client.close();
    await own.transport.close();
  });

  test("F-090 G.711 both ways after session.update, and the update is what session.updated says", async () => {
    const { client, session } = await opened("g711");
    const input = { format: { type: "audio/pcmu" } };
    client.send(update({ input, output: { format: { type: "audio/pcma" } } }));
    await until(() => client.of("session.updated").length === 1, "session.updated");
    expect(client.of("session.updated")[0]).toMatchObject({
      session: { audio: { input, output: { format: { type: "audio/pcma" } } } },
    });
    // 100 ms of the loudest mu-law.
    client.send({ type: "input_audio_buffer.append", audio: Buffer.alloc(800, 0x80).toString("base64") });
    await until(() => session.audio().length >= 4, "the sound");
    const loud = new Int16Array(session.audio()[2]?.bytes.slice().buffer ?? new ArrayBuffer(0));
    expect(Math.max(...loud)).toBeGreaterThan(20_000);
    session.control("turn_open", 1);
    session.media(1, 1, 5, { end: true });
    session.control("commit", 1);
    session.control("close", 1);
    await until(() => client.of("response.done").length === 1, "the answer");
    const bytes = client
      .of("response.output_audio.delta")
      .flatMap(({ delta }) => [...Buffer.from(String(delta), "base64")]);
    expect(bytes).toHaveLength(800);
    client.close();
  });
});

describe.concurrent("what was heard", () => {
  /** A turn of 500 ms that is being played. */
  async function speaking(id: string) {
    const { client, session } = await opened(id);
    session.control("turn_open", 1);
    session.text(1, "assistant", "Some words.");
    session.media(1, 1, 25);
    // The filter keeps a little of it until more comes.
    await until(() => client.of("response.output_audio.delta").length >= 20, "the sound");
    const item = String(client.of("response.output_audio.delta")[0]?.item_id);
    const truncate = (ms: number): Event => ({
      type: "conversation.item.truncate",
      item_id: item,
      content_index: 0,
      audio_end_ms: ms,
    });
    return { client, session, item, truncate };
  }

  const acks = (session: FakeSession) => session.received.flatMap((m) => (m.kind === "fence_ack" ? [m] : []));

  test("F-039 audio_end_ms beyond the audio is refused; within it, it cuts the turn and is what counts as heard", async () => {
    const { client, session, item, truncate } = await speaking("truncate");
    const error = await refused(client, truncate(501));
    expect(error).toMatchObject({ code: "invalid_value", param: "audio_end_ms" });
    expect(error.message).toMatch(/^Audio content of 4\d\dms is already shorter than 501ms/);
    client.send(truncate(80));
    await until(() => session.signals().includes("stop"), "the cancel");
    session.fence(1);
    session.control("abort", 1, {}, "cancelled");
    session.control("close", 1);
    await until(() => client.of("conversation.item.truncated").length === 1, "the truncation");
    expect(client.of("conversation.item.truncated")[0]).toMatchObject({ item_id: item, audio_end_ms: 80 });
    expect(acks(session)[0]).toMatchObject({ turn: 1, generation: 1, playedUs: 80_000 });
    client.send({ type: "conversation.item.retrieve", item_id: item });
    await until(() => client.of("conversation.item.retrieved").length === 1, "the item");
    expect(client.of("conversation.item.retrieved")[0]).toMatchObject({
      item: { status: "incomplete", content: [{ type: "output_audio", transcript: null }] },
    });
    client.close();
  });

  test("F-039 F-175 nothing of a fenced turn goes out; without the client's word the clock bounds what was heard", async () => {
    const { client, session, item } = await speaking("clock");
    session.fence(1);
    session.media(1, 26, 25);
    session.control("abort", 1, {}, "cancelled");
    session.control("close", 1);
    await until(() => client.of("conversation.item.truncated").length === 1, "the truncation");
    const order = client.events.map(({ type }) => type);
    expect(order.lastIndexOf("response.output_audio.delta")).toBeLessThan(order.indexOf("response.done"));
    expect(client.of("response.output_audio.delta").length).toBeLessThanOrEqual(25);
    expect(order.indexOf("input_audio_buffer.speech_started")).toBeLessThan(order.indexOf("response.done"));
    expect(client.of("response.done")).toHaveLength(1);
    const [ack] = acks(session);
    expect(ack?.playedUs).toBeLessThan(500_000);
    expect(ack?.flushed).toBeGreaterThan(0);
    const ms = Math.floor((ack?.playedUs ?? 0) / 1_000);
    expect(client.of("conversation.item.truncated")[0]).toMatchObject({ item_id: item, audio_end_ms: ms });
    client.close();
  });

  test("F-039 a client that says it has heard more than time allowed is believed only so far", async () => {
    const { client, session, truncate } = await speaking("boast");
    session.fence(1);
    await until(() => client.of("response.done").length === 1, "the cut");
    client.send(truncate(400));
    await until(() => acks(session).length === 1, "the acknowledgement");
    expect(acks(session)[0]?.playedUs).toBeLessThan(400_000);
    client.close();
  });

  test("response.cancel and output_audio_buffer.clear stop the turn; the response is cancelled by the client", async () => {
    const { client, session } = await speaking("cancel");
    client.send({ type: "response.cancel" });
    await until(() => session.signals().includes("stop"), "the cancel");
    session.transport.send({ kind: "fence", epoch: 1, turn: 1, generation: 1, all: false, reason: "user_cancel" });
    await until(() => client.of("response.done").length === 1, "the end");
    const details = { type: "cancelled", reason: "client_cancelled" };
    expect(client.of("response.done")[0]).toMatchObject({ response: { status: "cancelled", status_details: details } });
    expect(client.of("input_audio_buffer.speech_started")).toEqual([]);
    const { client: other, session: played } = await speaking("clear");
    other.send({ type: "output_audio_buffer.clear" });
    await until(() => other.of("output_audio_buffer.cleared").length === 1, "the clear");
    expect(played.signals()).toContain("stop");
    client.close();
    other.close();
  });

  test("the session's end: last words are played, then 1000; a cut connection is told as such", async () => {
    const { client, session } = await speaking("end");
    session.media(1, 26, 1, { end: true });
    session.close();
    await until(() => client.closed.length > 0, "the end");
    expect(client.closed[0]).toEqual({ code: 1000, reason: "completed" });
    expect(session.deliveries().at(-1)).toBe("completed/1");
    const { session: lost } = await opened("lost").then((both) => {
      both.client.close(4_000);
      return both;
    });
    await until(() => lost.signals().includes("ended"), "the end");
    expect(lost.signals()).toContain("disconnected");
  });
});
