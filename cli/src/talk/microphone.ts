/** A microphone as the platform hears one: a frame every 20 ms, speech while somebody speaks, else silence. */

const frameMs = 20;
const frameSamples = 320;
/** Frames sent at once after the event loop was late; what is older is sent as well, a little later. */
const burstMax = 25;

export interface Microphone {
  /** Speaks in real time; settles when the last sample is sent, or the microphone is closed. */
  speak(samples: Int16Array): Promise<void>;
  close(): void;
}

export interface MicrophoneOptions {
  nowMs(): number;
  /** A frame of 16 kHz mono. Must not throw. */
  send(frame: Int16Array): void;
}

interface Utterance {
  samples: Int16Array;
  at: number;
  done: () => void;
}

export function openMicrophone({ nowMs, send }: MicrophoneOptions): Microphone {
  const queue: Utterance[] = [];
  const startMs = nowMs();
  let sent = 0;
  const frame = (): Int16Array => {
    const utterance = queue[0];
    const made = new Int16Array(frameSamples);
    if (utterance === undefined) return made;
    made.set(utterance.samples.subarray(utterance.at, utterance.at + frameSamples));
    utterance.at += frameSamples;
    if (utterance.at >= utterance.samples.length) {
      queue.shift();
      utterance.done();
    }
    return made;
  };
  const tick = (): void => {
    const due = Math.floor((nowMs() - startMs) / frameMs);
    for (let burst = 0; sent < due && burst < burstMax; burst++) {
      sent += 1;
      send(frame());
    }
  };
  const timer = setInterval(tick, frameMs / 2);
  return {
    speak: (samples) => new Promise((done) => void queue.push({ samples, at: 0, done })),
    close: () => {
      clearInterval(timer);
      for (const { done } of queue.splice(0)) done();
    },
  };
}
