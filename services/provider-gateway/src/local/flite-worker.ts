/** The thread in which flite speaks: one for all sessions, since a clause would hold the event loop for 10 to 60 ms. */
import { parentPort } from "node:worker_threads";
import { FliteSynth, type Speech, type SpeechRequest } from "./flite-synth.ts";

export type FliteWorkerRequest = { id: number } & SpeechRequest;
export type FliteWorkerReply = { id: number } & ({ speech: Speech } | { problem: string });

const port = parentPort;
if (port === null) throw new Error("flite-worker runs as a worker thread only");
const synth = await FliteSynth.load();

async function serve(request: FliteWorkerRequest): Promise<void> {
  let reply: FliteWorkerReply;
  try {
    const speech = await synth.speak(request);
    // Copied to its own buffer, so that the buffer can be handed over.
    reply = { id: request.id, speech: { ...speech, samples: speech.samples.slice() } };
  } catch {
    reply = { id: request.id, problem: "flite could not speak this clause" };
  }
  port?.postMessage(reply, "speech" in reply ? [reply.speech.samples.buffer as ArrayBuffer] : []);
  synth.prepare();
}

port.on("message", (request: FliteWorkerRequest) => void serve(request));
port.postMessage({ id: -1, problem: "" } satisfies FliteWorkerReply);
