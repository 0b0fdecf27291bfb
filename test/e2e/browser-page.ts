/** The page that `browser.test.ts` opens: microphone in, voice out, and an ear on what really left the loudspeaker. */

import { type Microphone, microphoneFormat, openMicrophone } from "@rspp/client/browser/microphone";
import { createWebAudioPlayer } from "@rspp/client/browser/player";
import type { AudioContextLike, AudioNodeLike, WorkletNodeLike } from "@rspp/client/browser/web-audio";
import type { Client } from "@rspp/client/client";
import { connect } from "@rspp/client/connect";
import type { Cut, OutputFrame, StateEvent, TextEvent, TurnEvent } from "@rspp/client/types";

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
const ear = `registerProcessor("ear", class extends AudioWorkletProcessor {
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

async function start(url: string, token: string): Promise<object> {
  const context = new AudioContext({ sampleRate: 48_000 });
  await context.resume();
  await context.audioWorklet.addModule(URL.createObjectURL(new Blob([ear], { type: "text/javascript" })));
  const listener = new AudioWorkletNode(context, "ear", { channelCount: 1, channelCountMode: "explicit" });
  const heard: Heard[] = [];
  listener.port.onmessage = ({ data }) => void heard.push(data as Heard);
  listener.connect(context.destination as never);

  const log = { texts: [], turns: [], flushes: [], states: [] } as {
    texts: TextEvent[];
    turns: TurnEvent[];
    flushes: (Cut & { atS: number; held: number })[];
    states: StateEvent[];
  };
  const frames: Frame[] = [];
  const heardMs: Record<number, number> = {};
  const completed: number[] = [];
  let ended = "";
  let micFrames = 0;
  let player: ReturnType<typeof createWebAudioPlayer> | null = null;
  const format = microphoneFormat(context);
  const client: Client = await connect(url, token, {
    inputFormat: format,
    outputFormat: format,
    player: (onPlayed) => {
      const own = createWebAudioPlayer({
        context,
        destination: listener,
        onPlayed: (played) => {
          heardMs[played.turn] = played.playedUs / 1_000;
          if (played.state === "completed") completed.push(played.turn);
          onPlayed(played);
        },
      });
      player = own;
      return {
        play: (frame) => {
          const { data: _, ...rest } = frame;
          frames.push({ ...rest, atMs: performance.now() });
          own.play(frame);
        },
        flush: (cut) => own.flush(cut),
        hold: (turn) => own.hold(turn),
        resume: () => own.resume(),
        close: () => own.close(),
      };
    },
  });
  client.on("text", (event) => log.texts.push(event));
  client.on("turn", (event) => log.turns.push(event));
  client.on("state", (event) => log.states.push(event));
  client.on("flush", (cut) => log.flushes.push({ ...cut, atS: context.currentTime, held: player?.held() ?? 0 }));
  void client.ended.then((reason) => {
    ended = reason;
  });
  let microphone: Microphone | null = null;
  return {
    /** The microphone anew: the device reads its file from the beginning. */
    async speak(): Promise<void> {
      microphone?.close();
      const onFrame = (samples: Int16Array): void => {
        micFrames += 1;
        if (client.state !== "closed") client.sendAudio(samples);
      };
      // The file is clean speech: what browsers do to a room's sound would only blur it.
      const constraints = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
      microphone = await openMicrophone({ context, onFrame, constraints });
    },
    state: (): PageState => ({
      session: client.session,
      state: client.state,
      ...log,
      frames,
      heardMs,
      completed,
      resumes: client.resumes,
      underruns: player?.underruns ?? 0,
      micFrames,
      ended,
    }),
    /** Sound between two places of the audio clock, 16 bit, as base64. */
    sound: (fromS: number, toS: number): string => {
      const all = heard.filter(({ frame }) => frame >= fromS * 48_000 && frame < toS * 48_000);
      const samples = Int16Array.from(all.flatMap((h) => [...h.samples].map((s) => Math.round(s * 32_767))));
      let text = "";
      for (const byte of new Uint8Array(samples.buffer)) text += String.fromCharCode(byte);
      return btoa(text);
    },
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
