/** A room of LiveKit, through its own SDK (F-083). */
import {
  AudioFrame,
  AudioSource,
  AudioStream,
  DisconnectReason,
  LocalAudioTrack,
  type LocalParticipant,
  type RemoteParticipant,
  type RemoteTrack,
  type RemoteTrackPublication,
  Room,
  RoomEvent,
  TrackKind,
  TrackPublishOptions,
  TrackSource,
} from "@livekit/rtc-node";
import {
  type AgentRoom,
  type AgentState,
  ROOM_RATE_HZ,
  type RoomListener,
  type RoomTarget,
  type Transcription,
} from "./agent-room.ts";
import { limits } from "./limits.ts";

const SIGNAL_TOPIC = "rspp.signal";
const EVENT_TOPIC = "rspp.event";
const TRANSCRIPTION_TOPIC = "lk.transcription";
const frameMs = 20;
const utf8 = new TextDecoder();

/** What ends a connection for good; after anything else it is tried again. */
const finalReasons = new Set([
  DisconnectReason.CLIENT_INITIATED,
  DisconnectReason.DUPLICATE_IDENTITY,
  DisconnectReason.PARTICIPANT_REMOVED,
  DisconnectReason.ROOM_DELETED,
  DisconnectReason.ROOM_CLOSED,
  DisconnectReason.USER_REJECTED,
  DisconnectReason.USER_UNAVAILABLE,
]);

const nameOf = (reason: DisconnectReason | undefined): string =>
  (DisconnectReason[reason ?? DisconnectReason.UNKNOWN_REASON] ?? "unknown_reason").toLowerCase();

export function createLiveKitRoom(listener: RoomListener): AgentRoom {
  return new LiveKitRoom(listener);
}

class LiveKitRoom implements AgentRoom {
  readonly #listener: RoomListener;
  readonly #room = new Room();
  readonly #source = new AudioSource(ROOM_RATE_HZ.agent, 1, limits.SOURCE_QUEUE_MS);
  #callerIdentity = "";
  #microphone: { sid: string; stop(): void } | null = null;
  #over = false;
  /** Messages to the room go one after the other; the SDK answers each. */
  #messages: Promise<unknown> = Promise.resolve();
  #pending = 0;

  constructor(listener: RoomListener) {
    this.#listener = listener;
  }

  async join({ url, token, callerIdentity }: RoomTarget): Promise<void> {
    this.#callerIdentity = callerIdentity;
    this.#listen();
    await withinMs(limits.CONNECT_MS, this.#room.connect(url, token, { autoSubscribe: true, dynacast: false }));
    const options = new TrackPublishOptions();
    options.source = TrackSource.SOURCE_MICROPHONE;
    const track = LocalAudioTrack.createAudioTrack("agent", this.#source);
    await withinMs(limits.CONNECT_MS, this.#local().publishTrack(track, options));
  }

  play(bytes: Uint8Array): void {
    const samples = new Int16Array(bytes.byteLength >> 1);
    new Uint8Array(samples.buffer).set(bytes.subarray(0, samples.byteLength));
    const frame = new AudioFrame(samples, ROOM_RATE_HZ.agent, 1, samples.length);
    // Refused where it was taken back or the room is gone: nobody waits for it.
    this.#source.captureFrame(frame).catch(() => undefined);
  }

  clear(): number {
    const left = this.#source.queuedDuration;
    this.#source.clearQueue();
    return left;
  }

  queuedMs(): number {
    return this.#source.queuedDuration;
  }

  transcribe({ role, segment, text, final: isFinal }: Transcription): void {
    const attributes = { "lk.segment_id": segment, "lk.transcription_final": String(isFinal) };
    const senderIdentity = role === "user" ? this.#callerIdentity : "";
    this.#queue(async (local) => {
      const writer = await local.streamText({
        topic: TRANSCRIPTION_TOPIC,
        attributes,
        ...(senderIdentity === "" ? {} : { senderIdentity }),
      });
      await writer.write(text);
      await writer.close();
    });
  }

  agentState(state: AgentState): void {
    this.#queue((local) => local.setAttributes({ "lk.agent.state": state }));
  }

  tell(json: string): void {
    this.#queue((local) => local.publishData(new TextEncoder().encode(json), { reliable: true, topic: EVENT_TOPIC }));
  }

  async leave(): Promise<void> {
    if (this.#over) return;
    this.#over = true;
    this.#microphone?.stop();
    this.#room.removeAllListeners();
    await withinMs(limits.CONNECT_MS, this.#room.disconnect()).catch(() => undefined);
    await this.#source.close().catch(() => undefined);
  }

  #local() {
    const local = this.#room.localParticipant;
    if (local === undefined) throw new Error("the agent is not in the room");
    return local;
  }

  #listen(): void {
    const room = this.#room;
    const listener = this.#listener;
    room.on(RoomEvent.TrackSubscribed, (track, publication, participant) =>
      this.#hear(track, publication, participant),
    );
    room.on(RoomEvent.TrackUnsubscribed, (_track, publication) => {
      if (publication.sid === this.#microphone?.sid) this.#stopHearing();
    });
    room.on(RoomEvent.TrackMuted, ({ sid }) => sid === this.#microphone?.sid && listener.muted(true));
    room.on(RoomEvent.TrackUnmuted, ({ sid }) => sid === this.#microphone?.sid && listener.muted(false));
    room.on(RoomEvent.ParticipantDisconnected, (participant) => this.#left(participant));
    room.on(RoomEvent.DtmfReceived, (_code, digit, participant) => {
      if (this.#isCaller(participant)) listener.dtmf(digit);
    });
    room.on(RoomEvent.DataReceived, (payload, participant, _kind, topic) => {
      const bytes = payload.byteLength <= limits.SIGNAL_CHARS_MAX ? payload : new Uint8Array(0);
      if (topic === SIGNAL_TOPIC && participant !== undefined && this.#isCaller(participant))
        listener.signal(utf8.decode(bytes));
    });
    room.on(RoomEvent.Reconnecting, () => listener.away(true));
    room.on(RoomEvent.Reconnected, () => listener.away(false));
    room.on(RoomEvent.Disconnected, (reason) => {
      if (this.#over) return;
      this.#stopHearing();
      listener.closed(nameOf(reason), finalReasons.has(reason));
    });
  }

  #isCaller({ identity }: { identity: string }): boolean {
    return this.#callerIdentity !== "" && identity === this.#callerIdentity;
  }

  #hear(track: RemoteTrack, publication: RemoteTrackPublication, { identity }: RemoteParticipant): void {
    if (track.kind !== TrackKind.KIND_AUDIO || publication.source !== TrackSource.SOURCE_MICROPHONE) return;
    if (this.#callerIdentity === "") this.#callerIdentity = identity;
    if (identity !== this.#callerIdentity) return;
    this.#stopHearing();
    const options = { sampleRate: ROOM_RATE_HZ.caller, numChannels: 1, frameSizeMs: frameMs };
    const reader = new AudioStream(track, options).getReader();
    this.#microphone = { sid: publication.sid ?? "", stop: () => void reader.cancel().catch(() => undefined) };
    this.#listener.callerCame(identity);
    if (publication.muted) this.#listener.muted(true);
    void this.#read(reader, this.#microphone);
  }

  async #read(reader: ReadableStreamDefaultReader<AudioFrame>, microphone: { sid: string }): Promise<void> {
    for (;;) {
      const { done, value } = await reader.read().catch(() => ({ done: true, value: undefined }) as const);
      if (done || value === undefined || this.#microphone !== microphone) return;
      const { buffer, byteOffset, byteLength } = value.data;
      this.#listener.audio(new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength));
    }
  }

  #stopHearing(): void {
    this.#microphone?.stop();
    this.#microphone = null;
  }

  #left(participant: RemoteParticipant): void {
    if (!this.#isCaller(participant)) return;
    this.#stopHearing();
    const { disconnectReason: reason } = participant;
    this.#listener.callerLeft(nameOf(reason), reason !== undefined && finalReasons.has(reason));
  }

  #queue(send: (local: LocalParticipant) => Promise<unknown>): void {
    if (this.#over || this.#pending >= limits.MESSAGES_MAX) return;
    this.#pending += 1;
    this.#messages = this.#messages
      .then(() => (this.#over ? undefined : withinMs(limits.CONNECT_MS, send(this.#local()))))
      // A message that the room did not take is of no use later.
      .catch(() => undefined)
      .finally(() => {
        this.#pending -= 1;
      });
  }
}

async function withinMs<T>(ms: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`LiveKit did not answer within ${ms} ms`)), ms);
  });
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}
