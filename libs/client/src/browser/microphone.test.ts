import { runInNewContext } from "node:vm";
import { describe, expect, test } from "vitest";
import { FakeAudio } from "../testing/fake-audio.ts";
import { FakeHost } from "../testing/fake-host.ts";
import { microphoneFormat, microphoneWorklet, openMicrophone } from "./microphone.ts";
import type { BrowserGlobals, WorkletNodeLike } from "./web-audio.ts";

interface Processor {
  readonly port: { onmessage: (() => void) | null; postMessage(frame: Int16Array): void };
  process(inputs: Float32Array[][]): boolean;
}

/** The worklet as a browser's audio thread would run it. */
function processor(samples: number): { made: Processor; frames: Int16Array[] } {
  const frames: Int16Array[] = [];
  let Made: (new (options: object) => Processor) | null = null;
  class AudioWorkletProcessor {
    readonly port = { onmessage: null, postMessage: (frame: Int16Array) => frames.push(frame) };
  }
  const registerProcessor = (_name: string, type: new (options: object) => Processor): void => {
    Made = type;
  };
  runInNewContext(microphoneWorklet, { AudioWorkletProcessor, registerProcessor, Int16Array, Math });
  if (Made === null) throw new Error("nothing was registered");
  return { made: new (Made as new (options: object) => Processor)({ processorOptions: { samples } }), frames };
}

class FakeNode implements WorkletNodeLike {
  static made: FakeNode[] = [];
  readonly said: unknown[] = [];
  readonly port: WorkletNodeLike["port"] = { onmessage: null, postMessage: (message) => void this.said.push(message) };
  readonly options: object;

  constructor(_context: never, _name: string, options: object) {
    this.options = options;
    FakeNode.made.push(this);
  }

  connect(): void {}
  disconnect(): void {}
}

function globals(getUserMedia: () => Promise<{ getTracks(): { stop(): void }[] }>): BrowserGlobals {
  return { AudioWorkletNode: FakeNode, navigator: { mediaDevices: { getUserMedia } } };
}

describe("the browser's microphone", () => {
  test("the worklet cuts whole frames out of blocks of any size, within 16 bits, until it is closed", () => {
    const { made, frames } = processor(320);
    for (let i = 0; i < 5; i++) expect(made.process([[new Float32Array(128).fill(i === 0 ? 2 : -0.5)]])).toBe(true);
    expect(frames.map((frame) => frame.length)).toEqual([320, 320]);
    expect([frames[0]?.[0], frames[0]?.[128]]).toEqual([32_767, -16_383]);
    expect(made.process([[]])).toBe(true);
    made.port.onmessage?.();
    expect(made.process([[]])).toBe(false);
  });

  test("frames come until it is closed; the worklet is loaded once per context; a stream of one's own stays open", async () => {
    const context = new FakeAudio(new FakeHost());
    const stopped: string[] = [];
    const stream = (name: string) => ({ getTracks: () => [{ stop: () => void stopped.push(name) }] });
    const heard: number[] = [];
    const onFrame = (samples: Int16Array): void => void heard.push(samples.length);
    const first = await openMicrophone({ context, onFrame, globals: globals(async () => stream("asked")) });
    const node = FakeNode.made.at(-1);
    expect(node?.options).toMatchObject({ numberOfOutputs: 0, processorOptions: { samples: 320 } });
    node?.port.onmessage?.({ data: new Int16Array(320) });
    first.close();
    expect([heard, stopped, node?.said, node?.port.onmessage]).toEqual([[320], ["asked"], ["close"], null]);
    const own = { context, onFrame, stream: stream("own"), globals: globals(() => Promise.reject(new Error("asked"))) };
    (await openMicrophone(own)).close();
    expect([stopped, context.modules.length]).toEqual([["asked"], 1]);
    expect(microphoneFormat(context)).toEqual({ codec: "pcm_s16le", rateHz: 16_000, channels: 1 });
  });

  test("a microphone that is not there, or not allowed, is an error with a remedy", async () => {
    const context = new FakeAudio(new FakeHost());
    const open = (own: BrowserGlobals) => openMicrophone({ context, onFrame: () => {}, globals: own });
    const denied = Object.assign(new Error("no"), { name: "NotAllowedError" });
    await expect(open(globals(() => Promise.reject(denied)))).rejects.toThrow(/NotAllowedError.*Allow it/);
    await expect(open({ AudioWorkletNode: FakeNode })).rejects.toMatchObject({ reason: "device" });
    await expect(open({})).rejects.toThrow(/https/);
    const blocked = new FakeAudio(new FakeHost());
    blocked.audioWorklet.addModule = () => Promise.reject(new Error("blocked by policy"));
    const there = globals(async () => ({ getTracks: () => [] }));
    const ask = () => openMicrophone({ context: blocked, onFrame: () => {}, globals: there });
    await expect(ask()).rejects.toThrow(/workletUrl/);
    await expect(ask()).rejects.toThrow(/workletUrl/);
  });
});
