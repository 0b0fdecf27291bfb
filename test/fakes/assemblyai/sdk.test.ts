/** The fake of AssemblyAI as its vendor's own client meets it; the client streams over TLS only. */
import { type AddressInfo, connect } from "node:net";
import { createServer, getCACertificates, setDefaultCACertificates } from "node:tls";
import { bytesToS16 } from "@rspp/audio/pcm";
import { writeWav } from "@rspp/audio/wav";
import { AssemblyAI, StreamingTranscriber, type TurnEvent } from "assemblyai";
import { afterAll, afterEach, beforeAll, expect, onTestFinished, test } from "vitest";
import { selfSigned } from "../../integration/certificate.ts";
import { type Fake, tonePcm } from "../fake.ts";
import { startAssemblyAi } from "./server.ts";

let fake: Fake;
let secureUrl = "";
let closeSecure: () => void;

beforeAll(async () => {
  fake = await startAssemblyAi({ transcript: "open at nine", partials: ["open", "open at"] });
  const made = selfSigned();
  setDefaultCACertificates([...getCACertificates("default"), made.cert]);
  const server = createServer(made, (socket) => {
    const inner = connect(Number(new URL(fake.baseUrl).port), "127.0.0.1");
    for (const one of [socket, inner]) one.on("error", () => {});
    socket.pipe(inner).pipe(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  secureUrl = `wss://localhost:${(server.address() as AddressInfo).port}/v3/ws`;
  closeSecure = () => server.close();
});
afterEach(() => {
  fake.fault("none");
  expect(fake.violations).toEqual([]);
});
afterAll(async () => {
  closeSecure();
  await fake.close();
});

function transcriber(apiKey = fake.key): { live: StreamingTranscriber; turns: TurnEvent[] } {
  const live = new StreamingTranscriber({
    websocketBaseUrl: secureUrl,
    apiKey,
    sampleRate: 16_000,
    encoding: "pcm_s16le",
    speechModel: "universal-streaming-english",
    formatTurns: true,
    keytermsPrompt: ["Quark", "Gluon"],
    maxConnectionRetries: 0,
  });
  const turns: TurnEvent[] = [];
  live.on("turn", (turn) => turns.push(turn));
  live.on("error", () => {});
  return { live, turns };
}

test("the official client streams: turns grow, one ends, the session terminates", async () => {
  const { live, turns } = transcriber();
  expect(await live.connect()).toMatchObject({ type: "Begin" });
  live.sendAudio(tonePcm(100, 16_000).buffer as ArrayBuffer);
  live.forceEndpoint();
  await expect.poll(() => turns.length).toBe(4);
  await live.close();
  expect(turns.map(({ transcript, end_of_turn }) => [transcript, end_of_turn])).toEqual([
    ["", false],
    ["open", false],
    ["open at nine", true],
    ["open at nine", true],
  ]);
  expect(turns.at(-1)?.turn_is_formatted).toBe(true);
  expect(fake.calls.at(-1)?.facts.keyterms_prompt).toEqual(["Quark", "Gluon"]);
});

test("the official client is refused with a wrong key, and hangs up in the middle", async () => {
  await expect(transcriber("wrong").live.connect()).rejects.toThrow(/Unauthorized|1008/);
  const { live } = transcriber();
  await live.connect();
  await live.close(false);
  await expect.poll(() => fake.calls.at(-1)?.closedBy).toBe("client");
});

test("the official client transcribes a recording, and knows an error", async () => {
  const client = new AssemblyAI({ apiKey: fake.key, baseUrl: fake.baseUrl });
  onTestFinished(() => fake.fault("none"));
  const audio = Buffer.from(writeWav(bytesToS16(tonePcm(100, 16_000)), { rateHz: 16_000, channels: 1 }));
  const order = { audio, speech_model: "universal", keyterms_prompt: ["Quark"] } as const;
  const transcript = await client.transcripts.transcribe(
    { ...order, keyterms_prompt: ["Quark"] },
    { pollingInterval: 1 },
  );
  expect(transcript).toMatchObject({ status: "completed", text: "open at nine", words: [{}, {}, {}] });
  fake.fault("rate_limited");
  await expect(client.transcripts.transcribe({ ...order, keyterms_prompt: [] })).rejects.toThrow("Too many requests");
});
