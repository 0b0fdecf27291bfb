import { Worker } from "node:worker_threads";
import { workerUrl } from "@rspp/host/worker-url";
import type { Speech, SpeechRequest } from "./flite-synth.ts";
import type { FliteWorkerReply, FliteWorkerRequest } from "./flite-worker.ts";

/** Clauses waiting over all sessions; more is overload. */
const queueMax = 512;

export interface SpeechJob {
  /** Takes the job off the queue, or drops its result. */
  cancel(): void;
}

type Done = (result: Speech | { problem: string; overload: boolean }) => void;

interface Job {
  request: SpeechRequest;
  done: Done | undefined;
}

/**
 * One worker thread for all sessions, first come first served. Jobs are handed over one by one, so that a cancelled one
 * costs nothing. A worker that dies fails its job and is started anew for the next.
 */
export class FliteThread {
  #worker: Worker | undefined;
  #started: Promise<void> | undefined;
  #queue: Job[] = [];
  #running: Job | undefined;
  #nextId = 0;
  #closed = false;

  /** Resolves when the thread is ready (about 60 ms), or has failed to start. */
  warm(): Promise<void> {
    if (this.#started) return this.#started;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#started = promise;
    const worker = new Worker(workerUrl("flite-worker", import.meta.url));
    this.#worker = worker;
    worker.on("message", (reply: FliteWorkerReply) => {
      if (reply.id !== -1) return this.#reply(reply);
      // Ready and idle, it does not keep the process running.
      if (this.#running === undefined) worker.unref();
      resolve();
    });
    const lost = () => {
      resolve();
      if (this.#worker === worker) this.#lost();
    };
    worker.on("error", lost);
    worker.on("exit", lost);
    return promise;
  }

  speak(request: SpeechRequest, done: Done): SpeechJob {
    const job: Job = { request, done };
    if (this.#closed || this.#queue.length >= queueMax) {
      done({ problem: this.#closed ? "flite is closed" : "too many clauses wait for flite", overload: true });
      return { cancel: () => {} };
    }
    this.#queue.push(job);
    this.#next();
    return {
      cancel: () => {
        job.done = undefined;
        this.#queue = this.#queue.filter((other) => other !== job);
      },
    };
  }

  /** For tests of the recovery: ends the thread as a crash would. */
  crash(): void {
    void this.#worker?.terminate();
  }

  async close(): Promise<void> {
    this.#closed = true;
    const worker = this.#worker;
    this.#lost();
    await worker?.terminate();
  }

  #next(): void {
    if (this.#running !== undefined) return;
    const job = this.#queue.shift();
    if (job === undefined) return;
    this.#running = job;
    void this.warm();
    // While a clause is being spoken the process must not end for want of other work.
    this.#worker?.ref();
    this.#worker?.postMessage({ id: ++this.#nextId, ...job.request } satisfies FliteWorkerRequest);
  }

  #reply(reply: FliteWorkerReply): void {
    const job = this.#running;
    if (job === undefined || reply.id !== this.#nextId) return;
    this.#running = undefined;
    this.#worker?.unref();
    this.#next();
    job.done?.("speech" in reply ? reply.speech : { problem: reply.problem, overload: false });
  }

  #lost(): void {
    this.#worker = undefined;
    this.#started = undefined;
    const failed = this.#closed ? [this.#running, ...this.#queue.splice(0)] : [this.#running];
    this.#running = undefined;
    for (const job of failed) job?.done?.({ problem: "the flite thread ended", overload: false });
    if (!this.#closed) this.#next();
  }
}
