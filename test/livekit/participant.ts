/** A caller in a LiveKit room, as an application's user is one: a microphone in real time, ears, and messages. */
import {
  AudioFrame,
  AudioSource,
  AudioStream,
  LocalAudioTrack,
  type RemoteTrack,
  Room,
  RoomEvent,
  TrackKind,
  TrackPublishOptions,
  TrackSource,
} from "@livekit/rtc-node";
import { AccessToken } from "livekit-server-sdk";
import { LIVEKIT_KEY, LIVEKIT_SECRET } from "./livekit-server.ts";

export const RATE_HZ = 16_000;
const FRAME = RATE_HZ / 100;
/** How far the microphone runs ahead of the room's clock. */
const QUEUE_MS = 60;
const silence = new Int16Array(FRAME);

export interface Heard {
  readonly atMs: number;
  readonly samples: Int16Array;
}

export interface Participant {
  readonly room: Room;
  /** All 10 ms of the agent's track since it was there, at 16 kHz. */
  readonly heard: readonly Heard[];
  /** Transcriptions by topic `lk.transcription`: who, text, whether final. */
  readonly transcriptions: readonly { identity: string; text: string; final: boolean }[];
  /** Data messages by topic. */
  readonly data: readonly { topic: string; text: string }[];
  /** After what is being said; resolves when the last sample was given to the room. */
  say(samples: Int16Array): Promise<void>;
  /** The microphone as the room names it, e.g. to mute it by the server. */
  readonly microphone: string;
  send(topic: string, text: string): Promise<void>;
  leave(): Promise<void>;
}

/** A token as an application's backend makes it. */
export async function livekitToken(room: string, identity: string): Promise<string> {
  const token = new AccessToken(LIVEKIT_KEY, LIVEKIT_SECRET, { identity, ttl: "10m" });
  token.addGrant({ roomJoin: true, room, canPublish: true, canSubscribe: true, canPublishData: true });
  return token.toJwt();
}

/** Joins and publishes a microphone, silent until it speaks. */
export async function join(url: string, token: string): Promise<Participant> {
  const caller = new Caller();
  await caller.connect(url, token);
  return caller;
}

class Caller implements Participant {
  readonly room = new Room();
  readonly heard: Heard[] = [];
  readonly transcriptions: { identity: string; text: string; final: boolean }[] = [];
  readonly data: { topic: string; text: string }[] = [];
  readonly #source = new AudioSource(RATE_HZ, 1, QUEUE_MS);
  readonly #track = LocalAudioTrack.createAudioTrack("microphone", this.#source);
  readonly #waiting: { samples: Int16Array; from: number; said: () => void }[] = [];
  #gone = false;
  #microphone = "";
  #pump: Promise<void> = Promise.resolve();

  async connect(url: string, token: string): Promise<void> {
    this.room.on(RoomEvent.TrackSubscribed, (track) => void this.#listen(track));
    this.room.on(RoomEvent.DataReceived, (bytes, _from, _kind, topic = "") => {
      this.data.push({ topic, text: new TextDecoder().decode(bytes) });
    });
    this.room.registerTextStreamHandler("lk.transcription", async (reader, { identity }) => {
      const final = reader.info.attributes?.["lk.transcription_final"] === "true";
      this.transcriptions.push({ identity, text: await reader.readAll(), final });
    });
    await this.room.connect(url, token);
    const options = new TrackPublishOptions();
    options.source = TrackSource.SOURCE_MICROPHONE;
    this.#microphone = (await this.#local().publishTrack(this.#track, options)).sid ?? "";
    this.#pump = this.#speak();
  }

  say(samples: Int16Array): Promise<void> {
    return new Promise((said) => this.#waiting.push({ samples, from: 0, said }));
  }

  get microphone(): string {
    return this.#microphone;
  }

  async send(topic: string, text: string): Promise<void> {
    await this.#local().publishData(new TextEncoder().encode(text), { reliable: true, topic });
  }

  async leave(): Promise<void> {
    this.#gone = true;
    await this.#pump;
    await this.room.disconnect();
    await this.#source.close();
  }

  #local() {
    const local = this.room.localParticipant;
    if (local === undefined) throw new Error("not in the room");
    return local;
  }

  async #speak(): Promise<void> {
    while (!this.#gone) {
      const samples = this.#next();
      await this.#source.captureFrame(new AudioFrame(samples, RATE_HZ, 1, samples.length));
    }
  }

  #next(): Int16Array {
    const now = this.#waiting[0];
    if (now === undefined) return silence;
    const frame = new Int16Array(FRAME);
    frame.set(now.samples.subarray(now.from, now.from + FRAME));
    now.from += FRAME;
    if (now.from >= now.samples.length) {
      this.#waiting.shift();
      now.said();
    }
    return frame;
  }

  async #listen(track: RemoteTrack): Promise<void> {
    if (track.kind !== TrackKind.KIND_AUDIO) return;
    for await (const { data } of new AudioStream(track, { sampleRate: RATE_HZ, numChannels: 1 })) {
      this.heard.push({ atMs: performance.now(), samples: data.slice() });
    }
  }
}
