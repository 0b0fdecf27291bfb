/** The browser's microphone (F-084): permission, a worklet that cuts frames off the audio thread, and the end of both. */
import { ClientError } from "../errors.ts";
import type { AudioFormat } from "../types.ts";
import type { AudioContextLike, BrowserGlobals, MediaStreamLike } from "./web-audio.ts";

export interface MicrophoneOptions {
  context: AudioContextLike;
  /** Each frame as it was spoken; give it to the client's `sendAudio`. */
  onFrame(samples: Int16Array): void;
  /** Length of a frame, milliseconds; default 20. */
  frameMs?: number;
  /** For getUserMedia; default one channel with echo cancellation, noise suppression and gain control. */
  constraints?: object;
  /** A stream that is open already: nobody is asked, and it is not closed. */
  stream?: MediaStreamLike;
  /** Where the page serves `microphoneWorklet`, when its content security policy forbids `blob:`. */
  workletUrl?: string;
  /** Default the page's own. */
  globals?: BrowserGlobals;
}

export interface Microphone {
  close(): void;
}

/** What frames of a microphone on this context are: give it as `inputFormat`. */
export function microphoneFormat(context: AudioContextLike): AudioFormat {
  return { codec: "pcm_s16le", rateHz: context.sampleRate, channels: 1 };
}

const name = "rspp-microphone";

/** Source of the worklet: frames of `samples` samples, as 16 bit, each handed over whole. */
export const microphoneWorklet = `registerProcessor("${name}", class extends AudioWorkletProcessor {
  constructor(options) {
    super();
    this.samples = options.processorOptions.samples;
    this.frame = new Int16Array(this.samples);
    this.filled = 0;
    this.open = true;
    this.port.onmessage = () => { this.open = false; };
  }
  process(inputs) {
    const channel = inputs[0][0];
    if (channel === undefined) return this.open;
    for (const value of channel) {
      this.frame[this.filled++] = Math.round(Math.max(-1, Math.min(1, value)) * 32767);
      if (this.filled < this.samples) continue;
      this.port.postMessage(this.frame, [this.frame.buffer]);
      this.frame = new Int16Array(this.samples);
      this.filled = 0;
    }
    return this.open;
  }
});
`;

/** A worklet's module is loaded once per context. */
const loaded = new WeakMap<object, Promise<void>>();

/**
 * Opens the microphone; the user may be asked. Frames come until `close`.
 *
 * @throws ClientError `device` (as a rejection) when there is none, or it was not allowed.
 */
export async function openMicrophone(options: MicrophoneOptions): Promise<Microphone> {
  const { context, frameMs = 20 } = options;
  const globals = options.globals ?? (globalThis as BrowserGlobals);
  const Node = globals.AudioWorkletNode;
  if (Node === undefined) throw refused("there are no audio worklets", "Serve the page by https or from localhost");
  await worklet(context, options.workletUrl);
  const stream = options.stream ?? (await userMedia(globals, options.constraints));
  const source = context.createMediaStreamSource(stream as never);
  const samples = Math.round((context.sampleRate * frameMs) / 1_000);
  const node = new Node(context as never, name, {
    numberOfInputs: 1,
    numberOfOutputs: 0,
    channelCount: 1,
    channelCountMode: "explicit",
    processorOptions: { samples },
  });
  node.port.onmessage = ({ data }) => options.onFrame(data as Int16Array);
  source.connect(node as never);
  return {
    close() {
      node.port.onmessage = null;
      node.port.postMessage("close");
      source.disconnect();
      if (options.stream === undefined) for (const track of stream.getTracks()) track.stop();
    },
  };
}

async function userMedia(globals: BrowserGlobals, constraints?: object): Promise<MediaStreamLike> {
  const devices = globals.navigator?.mediaDevices;
  if (devices === undefined) throw refused("there is no microphone here", "Serve the page by https or from localhost");
  const usual = { channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true };
  try {
    return await devices.getUserMedia({ audio: constraints ?? usual });
  } catch (failure) {
    const said = failure instanceof Error ? failure.name : "unknown";
    throw refused(
      `the microphone could not be opened (${said})`,
      "Allow it for this page, and check that one is there",
    );
  }
}

function worklet(context: AudioContextLike, url?: string): Promise<void> {
  const known = loaded.get(context);
  if (known !== undefined) return known;
  const own = url ?? URL.createObjectURL(new Blob([microphoneWorklet], { type: "text/javascript" }));
  const loading = context.audioWorklet.addModule(own).then(
    () => {
      if (url === undefined) URL.revokeObjectURL(own);
    },
    () => {
      loaded.delete(context);
      throw refused("the microphone's worklet could not be loaded", "Serve microphoneWorklet and give workletUrl");
    },
  );
  loaded.set(context, loading);
  return loading;
}

function refused(message: string, remedy: string): ClientError {
  return new ClientError("device", message, remedy);
}
