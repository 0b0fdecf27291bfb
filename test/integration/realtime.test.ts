/** OpenAI's own clients, unchanged, on `/v1/realtime`: they converse, are interrupted, push to talk. In real time. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { agentsSession, microphone, openAiClient, openRealtime, pcm24, type RealtimeRig } from "./realtime-rig.ts";
import { tokenOf, until } from "./websocket-rig.ts";

let rig: RealtimeRig;

beforeAll(async () => {
  rig = await openRealtime();
});

afterAll(() => rig.close());

const long =
  "This is a long answer that goes on for quite a while, so that somebody may well interrupt it before its end.";
const deltaMs = (delta: unknown): number => Buffer.from(String(delta), "base64").length / 48;

describe.concurrent("official clients on the Realtime endpoint", () => {
  test("F-084 F-090 npm openai: a spoken turn in the protocol's own order, words and sound whole", async () => {
    rig.settings.set("talk", {
      stt: { transcripts: ["a question"] },
      llm: { text: "A short answer." },
      tts: { ms_per_char: 20 },
    });
    const client = openAiClient(rig.secure, tokenOf("talk"));
    await until(() => client.of("session.created").length === 1, "session.created");
    client.socket.send({ type: "session.update", session: { type: "realtime", instructions: "Be brief." } });
    await until(() => client.of("session.updated").length === 1, "session.updated");
    const mic = microphone((pcm) =>
      client.socket.send({ type: "input_audio_buffer.append", audio: pcm.toString("base64") }),
    );
    mic.say(400);
    await until(() => client.of("response.done").length === 1, "response.done");
    mic.stop();
    const types = client.types().filter((type) => !/delta$|^session/.test(type));
    expect(types).toEqual([
      "input_audio_buffer.speech_started",
      "input_audio_buffer.speech_stopped",
      "input_audio_buffer.committed",
      "conversation.item.added",
      "conversation.item.done",
      "conversation.item.input_audio_transcription.completed",
      "response.created",
      "response.output_item.added",
      "conversation.item.added",
      "response.content_part.added",
      "response.output_audio.done",
      "response.output_audio_transcript.done",
      "response.content_part.done",
      "response.output_item.done",
      "conversation.item.done",
      "response.done",
    ]);
    const heard = client.of("conversation.item.input_audio_transcription.completed")[0];
    expect(heard).toMatchObject({ transcript: "a question" });
    expect(client.of("response.output_audio_transcript.done")[0]).toMatchObject({ transcript: "A short answer." });
    expect(client.of("response.done")[0]).toMatchObject({ response: { status: "completed" } });
    // 15 characters at 20 ms each, whatever the clause's pauses add, and in 24 kHz.
    const ms = client.of("response.output_audio.delta").reduce((sum, { delta }) => sum + deltaMs(delta), 0);
    expect(ms).toBeGreaterThanOrEqual(300);
    client.socket.close();
    await rig.live.get("talk")?.ended;
  });

  test("F-039 F-086 npm openai: interrupted; no delta after response.done, what was heard is what the client says", async () => {
    rig.settings.set("cut", {
      stt: { transcripts: ["tell me", "stop"] },
      llm: { text: long },
      tts: { ms_per_char: 30 },
    });
    const client = openAiClient(rig.secure, tokenOf("cut"));
    await until(() => client.of("session.created").length === 1, "session.created");
    const mic = microphone((pcm) =>
      client.socket.send({ type: "input_audio_buffer.append", audio: pcm.toString("base64") }),
    );
    client.socket.on("input_audio_buffer.speech_started", () => {
      const item = client.of("response.output_audio.delta").at(-1)?.item_id;
      if (typeof item !== "string" || client.of("conversation.item.truncated").length > 0) return;
      client.socket.send({ type: "conversation.item.truncate", item_id: item, content_index: 0, audio_end_ms: 100 });
    });
    mic.say(400);
    await until(() => client.of("response.output_audio.delta").length > 20, "the answer");
    mic.say(400);
    await until(() => client.of("conversation.item.truncated").length === 1, "the truncation");
    await until(() => client.of("response.created").length === 2, "the next answer");
    mic.stop();
    const [done] = client.of("response.done");
    const cut = { status: "cancelled", status_details: { type: "cancelled", reason: "turn_detected" } };
    expect(done).toMatchObject({ response: cut });
    expect(client.of("conversation.item.truncated")[0]).toMatchObject({ audio_end_ms: 100 });
    const { id } = (done as unknown as { response: { id: string } }).response;
    const after = client.events.slice(client.events.indexOf(done ?? { type: "" }) + 1);
    expect(after.filter((event) => event.response_id === id)).toEqual([]);
    expect(client.of("error")).toEqual([]);
    client.socket.close();
    await rig.live.get("cut")?.ended;
  });

  test("F-042 npm openai: push to talk; nothing is heard before the commit, and a cleared buffer never", async () => {
    rig.settings.set("push", { stt: { transcripts: ["pushed"] }, llm: { text: "Heard." }, tts: { ms_per_char: 20 } });
    const client = openAiClient(rig.secure, tokenOf("push"));
    await until(() => client.of("session.created").length === 1, "session.created");
    const input = { format: { type: "audio/pcm" as const, rate: 24_000 as const }, turn_detection: null };
    client.socket.send({ type: "session.update", session: { type: "realtime", audio: { input } } });
    await until(() => client.of("session.updated").length === 1, "session.updated");
    const append = (pcm: Buffer) =>
      client.socket.send({ type: "input_audio_buffer.append", audio: pcm.toString("base64") });
    append(pcm24(600, true));
    client.socket.send({ type: "input_audio_buffer.clear" });
    client.socket.send({ type: "input_audio_buffer.commit" });
    await until(() => client.of("error").length === 1, "the refusal");
    expect(client.of("error")[0]).toMatchObject({ error: { code: "input_audio_buffer_commit_empty" } });
    append(pcm24(600, true));
    client.socket.send({ type: "input_audio_buffer.commit" });
    client.socket.send({ type: "response.create" });
    await until(() => client.of("response.done").length === 1, "the answer");
    expect(client.of("error")).toHaveLength(1);
    const types = client.types();
    expect(types).not.toContain("input_audio_buffer.speech_started");
    expect(types.indexOf("input_audio_buffer.committed")).toBeLessThan(types.indexOf("response.created"));
    expect(client.of("conversation.item.input_audio_transcription.completed")[0]).toMatchObject({
      transcript: "pushed",
    });
    client.socket.close();
    await rig.live.get("push")?.ended;
  });

  test("F-039 F-084 npm @openai/agents-realtime: a history of both sides, and an interruption", async () => {
    rig.settings.set("agents", {
      stt: { transcripts: ["tell me", "stop"] },
      llm: { text: long },
      tts: { ms_per_char: 30 },
    });
    const session = await agentsSession(rig.plain, "agents");
    const seen = { audio: 0, interrupted: 0, errors: [] as unknown[], truncated: 0 };
    session.on("audio", () => {
      seen.audio += 1;
    });
    session.on("audio_interrupted", () => {
      seen.interrupted += 1;
    });
    session.on("error", (error) => seen.errors.push(error));
    session.on("transport_event", ({ type }) => {
      if (type === "conversation.item.truncated") seen.truncated += 1;
    });
    const mic = microphone((pcm) => session.sendAudio(new Uint8Array(pcm).buffer));
    mic.say(400);
    await until(() => seen.audio > 20, "the answer");
    mic.say(400);
    await until(() => seen.interrupted > 0 && seen.truncated > 0, "the interruption");
    mic.stop();
    const told = JSON.stringify(session.history);
    expect(told).toContain("tell me");
    expect(session.history.map((item) => item.type === "message" && item.role).slice(0, 2)).toEqual([
      "user",
      "assistant",
    ]);
    expect(seen.errors).toEqual([]);
    session.close();
    await rig.live.get("agents")?.ended;
  });
});
