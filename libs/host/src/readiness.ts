import type { Health } from "@rspp/rpc/health";

/** Ready from the first call it may take to the signal that stops it, as long as all it depends on is there (F-108). */
export class Readiness {
  readonly #health: Health;
  readonly #missing = new Set<string>();
  #serving = false;

  constructor(health: Health) {
    this.#health = health;
  }

  dependency(name: string, there: boolean): void {
    if (there) this.#missing.delete(name);
    else this.#missing.add(name);
    this.#tell();
  }

  serve(): void {
    this.#serving = true;
    this.#tell();
  }

  /** For good: what comes later of dependencies changes nothing. */
  stop(): void {
    if (!this.#serving) return;
    this.#serving = false;
    this.#health.setReady(false, ["stopping"]);
  }

  #tell(): void {
    if (this.#serving) this.#health.setReady(this.#missing.size === 0, [...this.#missing]);
  }
}
