/** The page that `browser.test.ts` opens: microphone in, voice out, and an ear on what really left the loudspeaker. */

import { type Microphone, microphoneFormat, openMicrophone } from "@rspp/client/browser/microphone";
import { createWebAudioPlayer, type WebAudioPlayer } from "@rspp/client/browser/player";
import type { AudioContextLike, AudioNodeLike, WorkletNodeLike } from "@rspp/client/browser/web-audio";
import type { Client } from "@rspp/client/client";
import { connect } from "@rspp/client/connect";
import type { Cut, OutputFrame, Played, StateEvent, TextEvent, TurnEvent } from "@rspp/client/types";

declare const AudioContext: new (options?: { sampleRate: number }) => AudioContextLike & { resume(): Promise<void> };
declare const AudioWorkletNode: new (
  context: object,
  name: string,
  options?: object,
) => WorkletNodeLike & AudioNodeLike;

type Frame = Omit<OutputFrame, "data"> & { atMs: number };

export interface PageState {
  readonly session: string;
  readonly state: string;
  readonly texts: readonly TextEvent[];
  readonly turns: readonly TurnEvent[];
  readonly flushes: readonly (Cut & { atS: number; held: number })[];
  readonly states: readonly StateEvent[];
  /** Audio frames as they came, without their sound. */
  readonly frames: readonly Frame[];
  /** Media time heard by turn, milliseconds, as reported. */
  readonly heardMs: Readonly<Record<number, number>>;
  /** Turns heard to their end. */
  readonly completed: readonly number[];
  readonly resumes: number;
  readonly underruns: number;
  readonly micFrames: number;
  readonly ended: string;
}

/** Everything that goes to the loudspeaker passes it; told with the place on the audio clock. */
const earWorklet = `registerProcessor("ear", class extends AudioWorkletProcessor {
  process([[channel]], [[out]]) {
    if (channel !== undefined) out.set(channel);
    this.port.postMessage({ frame: currentFrame, samples: out.slice() });
    return true;
  }
});`;

interface Heard {
  frame: number;
  samples: Float32Array;
}

interface Log {
  texts: TextEvent[];
  turns: TurnEvent[];
  flushes: (Cut & { atS: number; held: number })[];
  states: StateEvent[];
  frames: Frame[];
  heardMs: Record<number, number>;
  completed: number[];
  micFrames: number;
  ended: string;
}

async function startEar(context: AudioContextLike): Promise<{ ear: AudioNodeLike; heard: Heard[] }> {
  await context.audioWorklet.addModule(URL.createObjectURL(new Blob([earWorklet], { type: "text/javascript" })));
  const ear = new AudioWorkletNode(context, "ear", { channelCount: 1, channelCountMode: "explicit" });
  const heard: Heard[] = [];
  ear.port.onmessage = ({ data }) => void heard.push(data as Heard);
  ear.connect(context.destination as never);
  return { ear, heard };
}

/** The shipped player, with what it is given and what it reports written down. */
function watched(
  context: AudioContextLike,
  destination: AudioNodeLike,
  log: Log,
  onPlayed: (played: Played) => void,
): WebAudioPlayer {
  const player = createWebAudioPlayer({
    context,
    destination,
    onPlayed: (played) => {
      log.heardMs[played.turn] = played.playedUs / 1_000;
      if (played.state === "completed") log.completed.push(played.turn);
      onPlayed(played);
    },
  });
  const play = player.play.bind(player);
  player.play = (frame) => {
    const { data: _, ...rest } = frame;
    log.frames.push({ ...rest, atMs: performance.now() });
    play(frame);
  };
  return player;
}

/** 16 bit, as base64. */
function encoded(blocks: readonly Heard[]): string {
  const samples = Int16Array.from(blocks.flatMap((h) => [...h.samples].map((s) => Math.round(s * 32_767))));
  let text = "";
  for (const byte of new Uint8Array(samples.buffer)) text += String.fromCharCode(byte);
  return btoa(text);
}

async function start(url: string, token: string): Promise<object> {
  const context = new AudioContext({ sampleRate: 48_000 });
  await context.resume();
  const { ear, heard } = await startEar(context);
  const log: Log = {
    ...{ texts: [], turns: [], flushes: [], states: [], frames: [], completed: [] },
    ...{ heardMs: {}, micFrames: 0, ended: "" },
  };
  const format = microphoneFormat(context);
  let player: WebAudioPlayer | null = null;
  const client: Client = await connect(url, token, {
    inputFormat: format,
    outputFormat: format,
    player: (onPlayed) => {
      player = watched(context, ear, log, onPlayed);
      return player;
    },
  });
  client.on("text", (event) => log.texts.push(event));
  client.on("turn", (event) => log.turns.push(event));
  client.on("state", (event) => log.states.push(event));
  client.on("flush", (cut) => log.flushes.push({ ...cut, atS: context.currentTime, held: player?.held() ?? 0 }));
  void client.ended.then((reason) => {
    log.ended = reason;
  });
  let microphone: Microphone | null = null;
  const onFrame = (samples: Int16Array): void => {
    log.micFrames += 1;
    if (client.state !== "closed") client.sendAudio(samples);
  };
  return {
    /** The microphone anew: the device reads its file from the beginning. */
    async speak(): Promise<void> {
      microphone?.close();
      // The file is clean speech: what browsers do to a room's sound would only blur it.
      const constraints = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
      microphone = await openMicrophone({ context, onFrame, constraints });
    },
    state: (): PageState => {
      const { session, state, resumes } = client;
      return { ...log, session, state, resumes, underruns: player?.underruns ?? 0 };
    },
    sound: (fromS: number, toS: number): string =>
      encoded(heard.filter(({ frame }) => frame >= fromS * 48_000 && frame < toS * 48_000)),
    nowS: () => context.currentTime,
    end: async () => {
      microphone?.close();
      client.end();
      await client.ended;
    },
  };
}

let call: object = {};
Object.assign(globalThis, {
  start: async (url: string, token: string) => {
    call = await start(url, token);
    Object.assign(globalThis, { call });
  },
  ready: true,
});
