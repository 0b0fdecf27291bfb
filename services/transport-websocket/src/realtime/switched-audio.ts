/** The caller's audio in a format that `session.update` may change in mid-call (F-090). */
import type { AudioFormat } from "@rspp/ports/provider";
import type { CallerAudio } from "@rspp/transport/audio-in";

export class SwitchedAudio implements CallerAudio {
  #now: CallerAudio;

  constructor(first: CallerAudio) {
    this.#now = first;
  }

  get format(): AudioFormat {
    return this.#now.format;
  }

  push(packet: Uint8Array): readonly Uint8Array[] | null {
    return this.#now.push(packet);
  }

  flush(): Uint8Array[] {
    return this.#now.flush();
  }

  /** What follows has the format of `next`. The last 20 ms of what came before it are lost. */
  to(next: CallerAudio): void {
    this.#now.close();
    this.#now = next;
  }

  close(): void {
    this.#now.close();
  }
}
