/** The native protocol over TLS: the shipped client on `wss`, with a certificate made for the test. */
import { get } from "node:https";
import { connect as connectTls, getCACertificates, setDefaultCACertificates } from "node:tls";
import { connect } from "@rspp/client/connect";
import { afterEach, describe, expect, test } from "vitest";
import { WebSocket as PackagedWebSocket } from "ws";
import { selfSigned } from "./certificate.ts";
import { join, openFake, type Seen, tokenOf, toneFrames, until, type WsRig } from "./websocket-rig.ts";

const tls = selfSigned();
const authorities = getCACertificates("default");

let rig: WsRig | null = null;
let seen: Seen | null = null;

afterEach(async () => {
  setDefaultCACertificates(authorities);
  seen?.client.end();
  await rig?.transport.close();
  [rig, seen] = [null, null];
});

/** A turn each way, and a barge-in. */
async function converse(id: string, over: WsRig, { client, audio, flushes }: Seen): Promise<void> {
  const session = over.session(id);
  for (const frame of toneFrames(200)) client.sendAudio(frame);
  client.endOfUtterance();
  await until(() => session.signals().includes("end_of_utterance"), "the signal");
  expect(session.audio()).toHaveLength(10);
  session.control("turn_open", 1);
  session.media(1, 1, 60);
  await until(() => audio.length > 3, "the answer");
  session.fence(1);
  await until(() => session.received.some((m) => m.kind === "fence_ack"), "the acknowledgement");
  expect(flushes).toEqual([{ turn: 1, generation: 1, allEarlier: true, reason: "barge_in" }]);
}

describe("wss", () => {
  test("F-084 Node's own WebSocket and that of the package, with the certificate's authority trusted", async () => {
    rig = await openFake({ tls });
    expect(rig.transport.url).toMatch(/^wss:\/\/127\.0\.0\.1:\d+\/v1\/session$/);
    const distrusted = connect(rig.transport.url, tokenOf("nobody"), {});
    await expect(distrusted).rejects.toMatchObject({ name: "ClientError", reason: "unreachable" });
    expect(rig.sessions.size).toBe(0);

    const trusting = class extends PackagedWebSocket {
      constructor(url: string, protocols: string[]) {
        super(url, protocols, { ca: tls.cert });
      }
    };
    const packaged = await join(rig.transport.url, tokenOf("packaged"), { WebSocket: trusting });
    await converse("packaged", rig, packaged);
    packaged.client.end();

    setDefaultCACertificates([...authorities, tls.cert]);
    seen = await join(rig.transport.url.replace("127.0.0.1", "localhost"), tokenOf("own"), { encoding: "json" });
    await converse("own", rig, seen);
  });

  test("F-091 a cut connection is taken up again over TLS", async () => {
    rig = await openFake({ tls });
    setDefaultCACertificates([...authorities, tls.cert]);
    seen = await join(rig.transport.url, tokenOf("resumed"));
    const session = rig.session("resumed");
    session.text(0, "user", "before");
    await until(() => seen?.texts.length === 1, "a text");
    seen.client.cut();
    session.text(0, "user", "while it was away");
    await until(() => seen?.client.resumes === 1 && seen.texts.length === 2, "the resume");
    expect(seen.texts.map(({ text }) => text)).toEqual(["before", "while it was away"]);
  });

  test("who is no WebSocket, who speaks plainly, and who speaks an old TLS", async () => {
    rig = await openFake({ tls });
    const { port } = rig.transport;
    const status = await new Promise((resolve, reject) => {
      get({ host: "127.0.0.1", port, ca: tls.cert }, (answer) => resolve(answer.statusCode)).on("error", reject);
    });
    expect(status).toBe(426);
    const plain = connect(rig.transport.url.replace("wss:", "ws:"), tokenOf("plain"), {});
    await expect(plain).rejects.toMatchObject({ reason: "unreachable" });
    const old = new Promise((resolve, reject) => {
      const at = { host: "127.0.0.1", port, ca: tls.cert, minVersion: "TLSv1", maxVersion: "TLSv1.1" } as const;
      connectTls(at, () => resolve("connected")).on("error", reject);
    });
    await expect(old).rejects.toThrow();
    setDefaultCACertificates([...authorities, tls.cert]);
    seen = await join(rig.transport.url, tokenOf("after"));
    expect(rig.transport.stats()).toMatchObject({ connections: 1, sessions: 1 });
  });
});
